"""Runs the command line."""

from pricecast_testbed.cli import main

main()
