"""News to signals by a language model."""
