"""Many headlines through one extractor: the cache first, then a bounded number at once, each with its attempts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from pricecast_core import logs, metrics
from pricecast_core.errors import BadMessageError
from pricecast_core.news.prompt import Answer
from pricecast_news_signal.cache import AnswerCache
from pricecast_news_signal.extractor import Extractor, UnavailableError

Result = Answer | BadMessageError
log = logs.get(__name__)
INVALID_IN_A_ROW = 5
"""So many headlines without a valid answer, and a reader that gave valid ones before is of no use now."""


class Reader:
    """Reads headlines.

    Args:
        extractor: Reads one.
        model: The model's name, for metrics.
        concurrency: How many are read at the same time.
        attempts: Tries at an answer inside the schema.
        cache: Answers known from before; none asks always.

    Attributes:
        concurrency: How many are read at the same time.
    """

    def __init__(
        self,
        extractor: Extractor,
        *,
        model: str,
        concurrency: int = 2,
        attempts: int = 3,
        cache: AnswerCache | None = None,
    ) -> None:
        self._extractor = extractor
        self.concurrency = concurrency
        self._attempts = attempts
        self._cache = cache if extractor.cacheable else None
        self._seconds = metrics.NEWS_MODEL_SECONDS.labels(model)
        self._cached = metrics.NEWS_SIGNALS_CACHED.labels(model)
        self._outside = metrics.NEWS_MODEL_ERRORS.labels(model, "outside_schema")
        self._unavailable = metrics.NEWS_MODEL_ERRORS.labels(model, "unavailable")
        self._up = metrics.NEWS_MODEL_UP.labels(model)
        self._ever_valid = False
        self._invalid_in_a_row = 0
        self._newest_fault = ""

    @property
    def problem(self) -> str | None:
        """Why the reader is of no use, though it answers: none of its answers is inside the schema."""
        if self._invalid_in_a_row >= (INVALID_IN_A_ROW if self._ever_valid else 1):
            which = "answers" if not self._ever_valid else f"last {self._invalid_in_a_row} answers"
            return f"none of its {which} is valid: {self._newest_fault}"
        return None

    async def read(self, headlines: Sequence[str]) -> list[Result]:
        """Returns for each headline its answer, or why there is no valid one.

        A headline that occurs twice is read once. What was answered before an outage is kept in the cache.

        Raises:
            UnavailableError: If the provider can't answer; none of the headlines counts as read.
            SettingsError: If it never will.
        """
        distinct = list(dict.fromkeys(headlines))
        known: dict[str, Result] = {}
        if self._cache is not None:
            known.update(await asyncio.to_thread(self._cache.get, distinct))
            self._cached.inc(len(known))
        todo = [headline for headline in distinct if headline not in known]
        fresh: dict[str, Result] = {}
        try:
            await self._read_all(todo, fresh)
        finally:
            answers = {headline: item for headline, item in fresh.items() if isinstance(item, Answer)}
            if self._cache is not None and answers:
                await asyncio.to_thread(self._cache.put, answers)
        known.update(fresh)
        return [known[headline] for headline in headlines]

    async def close(self) -> None:
        """Gives back connections."""
        await self._extractor.close()
        if self._cache is not None:
            self._cache.close()

    async def _read_all(self, headlines: Sequence[str], results: dict[str, Result]) -> None:
        """Reads headlines by a few workers; the first failure of the provider ends them all."""
        queue = iter(headlines)

        async def work() -> None:
            for headline in queue:
                results[headline] = await self._read_one(headline)

        workers = [asyncio.create_task(work()) for _ in range(min(self.concurrency, len(headlines)))]
        try:
            await asyncio.gather(*workers)
        except BaseException:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise

    async def _read_one(self, headline: str) -> Result:
        failure: BadMessageError | None = None
        for attempt in range(self._attempts):
            started = time.perf_counter()
            try:
                answer = await self._extractor.extract(headline, attempt)
            except BadMessageError as error:
                self._outside.inc()
                failure = error
            except UnavailableError:
                self._unavailable.inc()
                self._up.set(0)
                raise
            else:
                self._seconds.observe(time.perf_counter() - started)
                self._up.set(1)
                self._ever_valid, self._invalid_in_a_row = True, 0
                return answer
        assert failure is not None
        self._invalid_in_a_row += 1
        self._newest_fault = str(failure)
        if self.problem is not None:
            self._up.set(0)
            if self._invalid_in_a_row in (1, INVALID_IN_A_ROW):
                log.warning("the model gives no valid answers", error=self._newest_fault)
        return BadMessageError(f"{failure} (after {self._attempts} attempts)", failure.field, "outside_schema")
