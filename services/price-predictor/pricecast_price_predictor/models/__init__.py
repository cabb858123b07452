"""Model kinds: ways to say how wide the next return's distribution is, one module each behind one protocol.

`base` holds the protocol, `kinds` the registry; everything else of a model (median, ends, calibration, the artifact) is
the same for every kind and lives in `model`.
"""
