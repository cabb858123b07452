"""Trades to candles, in event time."""
