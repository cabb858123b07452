"""A Kafka-protocol broker for a machine that has no Kafka: loopback only, durable in one folder."""

from pricecast_embedded_broker.broker import BrokerError, EmbeddedBroker, binary, running

__all__ = ["BrokerError", "EmbeddedBroker", "binary", "running"]
