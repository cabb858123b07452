"""News from CryptoPanic, RSS and archives, as a stream."""
