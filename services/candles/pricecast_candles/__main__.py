"""`pricecast-candles`, or `python -m pricecast_candles`."""

from pricecast_core.starting import program

main = program("pricecast_candles.main")

if __name__ == "__main__":
    main()
