"""From a plan to Kubernetes objects. Pure: the same plan gives the same objects."""
