"""The cluster under test: the one that KUBECONFIG names, else the testbed's."""

from tests.e2e.fixtures import crds, kube, live, namespace, stack

__all__ = ["crds", "kube", "live", "namespace", "stack"]
