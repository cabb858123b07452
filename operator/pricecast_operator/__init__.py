"""Turns a PricePipeline into running services: on Kubernetes, or as local processes."""
