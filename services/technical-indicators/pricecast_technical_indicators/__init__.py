"""Candles to technical indicators."""
