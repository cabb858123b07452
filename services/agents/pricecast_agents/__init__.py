"""Forecasts for agents: a Model Context Protocol server over the prediction API."""
