"""What a client of Kafka's admin API remembers of why it was not let in."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from pricecast_core.streaming.admin import AdminClient

NOBODY = "127.0.0.1:1"


def test_a_handshake_told_once_is_the_reason_however_often_all_brokers_are_called_down() -> None:
    admin = AdminClient(NOBODY)
    admin.heard(KafkaError(KafkaError._SSL, "certificate verify failed"))
    for _ in range(100):
        admin.heard(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    told = admin.why(KafkaException(KafkaError(KafkaError._TRANSPORT, "Failed to get metadata")))
    assert told.startswith("Failed to get metadata: certificate verify failed; check KAFKA_CA")
