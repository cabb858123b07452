"""Trains, serves and scores the price model."""
