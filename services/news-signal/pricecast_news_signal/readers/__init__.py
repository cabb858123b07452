"""Who can read headlines: one module each, with an `open_extractor` that the registry calls."""
