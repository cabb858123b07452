"""From what was seen to the status of a resource: conditions and numbers. Pure."""
