"""Predictions over gRPC and HTTP."""
