"""`pricecast-operator`, or `python -m pricecast_operator`."""

from pricecast_core.starting import program

main = program("pricecast_operator.main")

if __name__ == "__main__":
    main()
