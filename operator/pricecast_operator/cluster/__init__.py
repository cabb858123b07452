"""The API server: reading, writing and comparing objects."""
