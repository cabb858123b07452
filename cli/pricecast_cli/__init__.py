"""The `pricecast` command and the runtime that makes a plan real on one machine."""
