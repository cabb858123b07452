"""Real servers for tests: found where a URL names one, else started from package registries alone."""

from pricecast_testbed.elasticsearch import Elasticsearch
from pricecast_testbed.kafka import Kafka, SecuredKafka
from pricecast_testbed.ollama import Ollama
from pricecast_testbed.postgres import Postgres
from pricecast_testbed.prometheus import prometheus, promtool
from pricecast_testbed.server import Server, TestbedError

__all__ = [
    "Elasticsearch",
    "Kafka",
    "Ollama",
    "Postgres",
    "SecuredKafka",
    "Server",
    "TestbedError",
    "prometheus",
    "promtool",
]
