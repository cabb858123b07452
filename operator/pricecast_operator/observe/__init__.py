"""Looks at what lies outside of the API server: Kafka, the model registry, the prediction store."""
