"""Streams into the feature store."""
