"""A real single-node Kubernetes on this machine, built from the Go module proxy, with Debian's container runtime."""

from pricecast_testbed.kubernetes.cluster import Cluster

__all__ = ["Cluster"]
