"""Real servers for tests: found where a URL names one, else started from package registries alone."""
