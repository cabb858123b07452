"""`pricecast-prediction-api`, or `python -m pricecast_prediction_api`."""

from pricecast_core.starting import program

main = program("pricecast_prediction_api.main")

if __name__ == "__main__":
    main()
