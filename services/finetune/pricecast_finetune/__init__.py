"""Fine-tunes the language model that reads the news."""
