"""`pricecast-to-feature-store`, or `python -m pricecast_to_feature_store`."""

from pricecast_core.starting import program

main = program("pricecast_to_feature_store.main")

if __name__ == "__main__":
    main()
