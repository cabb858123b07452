"""Messages, settings, stores and the streaming base shared by every pricecast service."""
