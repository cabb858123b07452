"""Dead letters read back, and replayed: written once more to the topic that they came from.

A letter is replayed once. What is replayed carries the letter's place as a header, so that a later replay finds it on
the topic itself and passes it over; all letters of one replay are written in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaException, Producer, TopicPartition

from pricecast_core import topics
from pricecast_core.dead_letters import is_cut
from pricecast_core.errors import BadMessageError
from pricecast_core.kafka import Brokers, connection
from pricecast_core.messages import DeadLetter, decode
from pricecast_core.streaming.admin import CLIENT, StreamError
from pricecast_core.streaming.positions import messages_between, reading

HEADER = "pricecast-dead-letter"
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter where it lies.

    Attributes:
        partition: Partition of the topic of dead letters.
        offset: Its offset there.
        time_ms: When it was written.
        content: The letter.
    """

    partition: int
    offset: int
    time_ms: int
    content: DeadLetter

    @property
    def place(self) -> str:
        """How it is named: partition and offset."""
        return f"{self.partition}-{self.offset}"


@dataclass(slots=True)
class Replayed:
    """What became of letters that were to be replayed.

    Attributes:
        written: Letters written to their topics.
        before: Those that were replayed before.
        impossible: Those that can't be, with the reason.
    """

    written: list[Letter] = field(default_factory=list)
    before: list[Letter] = field(default_factory=list)
    impossible: list[tuple[Letter, str]] = field(default_factory=list)


def letters(brokers: Brokers, pipeline: str) -> Iterator[Letter]:
    """Yields the dead letters of a pipeline, oldest first within a partition.

    Raises:
        StreamError: If the broker can't be reached.
    """
    name = topics.topic_name(pipeline, topics.DEAD_LETTERS)
    with reading(brokers, name) as (consumer, partitions):
        for partition in partitions:
            for message in messages_between(consumer, TopicPartition(name, partition, 0)):
                try:
                    content = decode(DeadLetter, message.value() or b"")
                except BadMessageError:  # no letter of ours
                    continue
                kind, time_ms = message.timestamp()
                yield Letter(partition, message.offset(), 0 if kind == TIMESTAMP_NOT_AVAILABLE else time_ms, content)


def replay(brokers: Brokers, pipeline: str, chosen: Sequence[Letter]) -> Replayed:
    """Writes letters to the topics that they came from, all or none of them.

    Raises:
        StreamError: If the broker can't be reached or refuses; nothing was written then.
    """
    result = Replayed()
    targets = {topics.topic_name(pipeline, spec): spec for spec in topics.ALL if spec is not topics.DEAD_LETTERS}
    possible: list[Letter] = []
    for letter in chosen:
        if letter.content.topic not in targets:
            result.impossible.append((letter, f"came from {letter.content.topic}, which is no topic of {pipeline}"))
        elif is_cut(letter.content):
            result.impossible.append((letter, "was too long to be kept whole"))
        else:
            possible.append(letter)
    done = _replayed_before(brokers, possible)
    for letter in possible:
        (result.before if letter.place in done else result.written).append(letter)
    if result.written:
        _write(brokers, pipeline, result.written, targets)
    return result


def _replayed_before(brokers: Brokers, chosen: Sequence[Letter]) -> set[str]:
    """Returns the places of letters that are on their topics already, written since the letters were."""
    found: set[str] = set()
    for name in {letter.content.topic for letter in chosen}:
        since_ms = min(letter.time_ms for letter in chosen if letter.content.topic == name)
        with reading(brokers, name) as (consumer, partitions):
            asked = [TopicPartition(name, partition, since_ms) for partition in partitions]
            for start in consumer.offsets_for_times(asked, timeout=_SECONDS) if asked else ():
                for message in messages_between(consumer, start):
                    found |= {str(value.decode()) for key, value in message.headers() or () if key == HEADER and value}
    return found


def _write(brokers: Brokers, pipeline: str, chosen: Iterable[Letter], targets: dict[str, topics.TopicSpec]) -> None:
    producer = Producer({**CLIENT, **connection(brokers), "transactional.id": f"{pipeline}.dead-letters-replay"})
    try:
        producer.init_transactions(_SECONDS)
        producer.begin_transaction()
        for letter in chosen:
            content = letter.content
            producer.produce(
                content.topic,
                content.value,
                content.key or _key_of(content.value, targets[content.topic]),
                partition=content.partition,  # -1 leaves it to the key
                headers={HEADER: letter.place.encode()},
            )
        producer.commit_transaction(_SECONDS)
    except KafkaException as error:
        raise StreamError(f"dead letters: can't be replayed: {error.args[0].str()}") from None


def _key_of(value: bytes, target: topics.TopicSpec) -> bytes | None:
    """Returns the key of a message that was refused without one, from the field that its topic is keyed by."""
    try:
        message = json.loads(value)
    except ValueError:
        return None
    if not isinstance(message, dict):
        return None
    return next((message[name].encode() for name in target.key.split() if isinstance(message.get(name), str)), None)
