"""The Kafka topics of PricePipelines: made before the first service starts, deleted with a pipeline that asked for it.

Kafka may take long or stay away, so topics are made in a task beside the rounds; a round waits for it for a moment only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pricecast_core import logs
from pricecast_core.kafka import Kafka
from pricecast_core.values import pipeline_id
from pricecast_operator.cluster.inventory import Inventory, Note
from pricecast_operator.cluster.objects import Ref
from pricecast_operator.controllers.known import KIND, KnownPipeline
from pricecast_operator.controllers.resources import Name, Surroundings
from pricecast_operator.controllers.secrets import Secrets
from pricecast_operator.observe.calls import Calls
from pricecast_operator.observe.kafka import TopicPlan, Topics, TopicsError
from pricecast_operator.observe.observed import Problem, describe
from pricecast_operator.render import labels
from pricecast_resources.plan import Plan
from pricecast_resources.pricepipeline import PricePipelineSpec

_GONE_SECONDS = 2.0
_TOPICS_SECONDS = 30.0
"""How long making or deleting topics may take."""
_TOPICS_AGAIN_SECONDS = 10.0
"""Until topics that could not be made or deleted are tried again."""
_SECRET_AGAIN_SECONDS = 60.0
"""Until topics that can't be deleted for want of a Secret are tried again."""
_PATIENCE_SECONDS = 1.0
"""How long a round waits for topics that are being made: Kafka answers sooner, or not at all."""
log = logs.get(__name__)


class PipelineTopics:
    """The topics of all PricePipelines.

    Args:
        surroundings: What the controllers work with.
        topics: Kafka's admin API.
        calls: Runs what blocks.
        inventory: Notes of topics to delete.
        secrets: Secrets that specs name.
    """

    def __init__(
        self, surroundings: Surroundings, topics: Topics, calls: Calls, inventory: Inventory, secrets: Secrets
    ) -> None:
        self._cluster = surroundings.cluster
        self._again = surroundings.again
        self._topics = topics
        self._calls = calls
        self._inventory = inventory
        self._secrets = secrets
        self._let_in: dict[Name, Kafka] = {}
        """By what topics were made: a Secret may go along with its pipeline."""

    async def ensure(
        self, known: KnownPipeline, name: Name, spec: PricePipelineSpec, planned: Plan, *, begins: bool, exact: bool
    ) -> bool:
        """Has the topics made as planned; returns whether they exist by now.

        Where the pipeline begins, what its topics hold already is looked at first: they may be of a namesake before it.
        """
        if spec.topics.deletion_policy == "Delete":
            await self._inventory.note(name, Note(known.uid, spec.storage.kafka))
        else:
            await self._inventory.discard(name)
        wanted = TopicPlan(planned.topics, spec.partitions, spec.topics.replication_factor, exact)
        if known.topics_ensured == wanted:
            return True
        wait = known.topics_again - time.monotonic()
        if known.topics_made is None and wait > 0:
            self._again(name, wait)
            return False
        if known.topics_made is None:
            brokers = self._secrets.kafka(name[0], spec.storage.kafka)
            if isinstance(brokers, Problem):
                known.observed = replace(known.observed, topics=brokers, topics_seen=True)
                self._again(name, _TOPICS_AGAIN_SECONDS)
                return False
            self._let_in[name] = brokers
            simulated = spec.source.kind == "Simulated"

            def make() -> tuple[int, list[str]]:
                if begins:
                    self._topics.check_history(brokers, planned.pipeline, spec.candles.seconds, simulated=simulated)
                return self._topics.ensure(brokers, wanted), self._topics.earlier(brokers, wanted)

            known.topics_made = asyncio.create_task(self._make(known, name, brokers, wanted, make))
        if known.observed.topics is None:
            await asyncio.wait({known.topics_made}, timeout=_PATIENCE_SECONDS)
        return known.topics_ensured == wanted

    async def _make(
        self,
        known: KnownPipeline,
        name: Name,
        brokers: Kafka,
        wanted: TopicPlan,
        make: Callable[[], tuple[int, list[str]]],
    ) -> None:
        """Makes topics, and has the pipeline reconciled once that is done, or is to be tried again."""
        problem = None
        seen = known.observed
        try:
            partitions, earlier = await self._calls.run(("topics", name), make, _TOPICS_SECONDS)
            seen = replace(seen, partitions=partitions, earlier=tuple(earlier))
        except TimeoutError:
            problem = Problem("KafkaUnreachable", f"{brokers} has not answered within {_TOPICS_SECONDS:.0f} s")
        except TopicsError as error:
            problem = Problem(error.reason, str(error))
        except Exception as error:  # a library's, of whatever kind, is this pipeline's alone
            problem = Problem("TopicsRefused", describe(error))
        finally:
            known.topics_made = None
        if problem is None or problem.reason == "PartitionsDiffer":
            known.topics_ensured = wanted
        else:
            known.topics_again = time.monotonic() + _TOPICS_AGAIN_SECONDS
        known.observed = replace(
            known.observed, topics=problem, topics_seen=True, partitions=seen.partitions, earlier=seen.earlier
        )
        self._again(name, 0.0)

    async def clean_up(self, name: Name) -> None:
        """Deletes the topics of a pipeline that is gone, if it asked for that."""
        note = self._inventory.get(name)
        if note is None:
            return
        if await self._cluster.exists(Ref(KIND, *name)):
            return  # not seen yet, after a restart
        pods = await self._cluster.pods(name[0], {labels.PIPELINE: name[1]})
        if any(pod["status"].get("phase") in ("Pending", "Running") for pod in pods):
            self._again(name, _GONE_SECONDS)  # they would make the topics anew
            return
        kafka = await self._kafka_of(name, note)
        if isinstance(kafka, Problem):
            log.warning("topics wait for a Secret to be deleted", pipeline="/".join(name), error=kafka.message)
            self._again(name, _SECRET_AGAIN_SECONDS)
            return
        delete = partial(self._topics.delete, kafka, pipeline_id(*name))
        try:
            deleted = await self._calls.run(("topics", name), delete, _TOPICS_SECONDS)
        except (TimeoutError, TopicsError) as error:
            log.warning("topics wait for Kafka to be deleted", pipeline="/".join(name), error=str(error))
            self._again(name, _TOPICS_AGAIN_SECONDS)  # for as long as it takes
            return
        log.info("topics deleted with their pipeline", pipeline="/".join(name), topics=len(deleted))
        self._let_in.pop(name, None)
        await self._inventory.discard(name)

    async def _kafka_of(self, name: Name, note: Note) -> Kafka | Problem:
        """Returns how the topics of a pipeline that is gone are reached: as its Secret says, or said."""
        for ref in note.kafka.secrets.values():
            await self._secrets.get(name[0], ref.name)
        kafka = self._secrets.kafka(name[0], note.kafka)
        return self._let_in.get(name, kafka) if isinstance(kafka, Problem) else kafka
