"""`pricecast-trades`, or `python -m pricecast_trades`."""

from pricecast_core.starting import program

main = program("pricecast_trades.main")

if __name__ == "__main__":
    main()
