"""Trades from Kraken, from files and from a simulated market, as a stream."""
