"""`python -m pricecast_operator.cli`: the same as `pricecast`."""

from pricecast_operator.cli import main

main()
