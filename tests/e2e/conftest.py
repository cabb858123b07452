"""The cluster under test: the one that KUBECONFIG names, else the testbed's."""

from tests.e2e.fixtures import crds, kube, kubeconfig, live, namespace, pytest_collection_modifyitems, stack

__all__ = ["crds", "kube", "kubeconfig", "live", "namespace", "pytest_collection_modifyitems", "stack"]
