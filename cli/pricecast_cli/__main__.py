"""`pricecast`, or `python -m pricecast_cli`."""

from pricecast_core.starting import program

main = program("pricecast_cli.main")

if __name__ == "__main__":
    main()
