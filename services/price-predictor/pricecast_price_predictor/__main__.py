"""`pricecast-price-predictor`, or `python -m pricecast_price_predictor`."""

from pricecast_core.starting import program

main = program("pricecast_price_predictor.main")

if __name__ == "__main__":
    main()
