"""The laptop runtime: the plan of a PricePipeline as supervised processes on embedded stores.

`folder` is where everything of a pipeline lies, `programs` turns a plan into commands, `supervisor` keeps them
running, `training` says when to train, `view` shows it all. Nothing here knows what a service computes.
"""
