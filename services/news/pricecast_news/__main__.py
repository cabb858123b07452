"""`pricecast-news`, or `python -m pricecast_news`."""

from pricecast_core.starting import program

main = program("pricecast_news.main")

if __name__ == "__main__":
    main()
