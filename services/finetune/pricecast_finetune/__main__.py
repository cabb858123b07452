"""`pricecast-finetune`, or `python -m pricecast_finetune`."""

from pricecast_core.starting import program

main = program("pricecast_finetune.main")

if __name__ == "__main__":
    main()
