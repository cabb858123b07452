"""What is reconciled, when, and in which order: watches, the queue, one controller for each resource."""
