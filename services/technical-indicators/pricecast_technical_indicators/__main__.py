"""`pricecast-technical-indicators`, or `python -m pricecast_technical_indicators`."""

from pricecast_core.starting import program

main = program("pricecast_technical_indicators.main")

if __name__ == "__main__":
    main()
