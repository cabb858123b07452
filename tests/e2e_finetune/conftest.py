"""The cluster under test, as for tests/e2e; these tests are apart for their image, which holds torch: several GB."""

from tests.e2e.fixtures import stack

__all__ = ["stack"]
