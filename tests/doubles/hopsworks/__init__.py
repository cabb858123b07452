"""A stand-in for a project of Hopsworks on one loopback address of its own. SOURCES.md says what it is faithful to."""

from tests.doubles.hopsworks.project import HopsworksDouble

__all__ = ["HopsworksDouble"]
