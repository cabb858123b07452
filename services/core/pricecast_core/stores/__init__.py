"""Stores behind small protocols: features, models, predictions.

Each protocol stands in a module of its own, says what it promises, and has one adapter a system beside it. The
`open_*` functions choose the adapter from the settings; adapters import their client libraries only then.
"""
