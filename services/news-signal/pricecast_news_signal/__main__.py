"""`pricecast-news-signal`, or `python -m pricecast_news_signal`."""

from pricecast_core.starting import program

main = program("pricecast_news_signal.main")

if __name__ == "__main__":
    main()
