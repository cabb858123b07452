"""`python -m pricecast_cli`: the same as `pricecast`."""

from pricecast_cli.main import main

main()
