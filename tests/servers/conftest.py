"""The real servers of this folder's tests: by URL where one is given, else started by the testbed."""

from pricecast_testbed.fixtures import elasticsearch_url, kafka_brokers, ollama_url, own_server, postgres_url

__all__ = ["elasticsearch_url", "kafka_brokers", "ollama_url", "own_server", "postgres_url"]
