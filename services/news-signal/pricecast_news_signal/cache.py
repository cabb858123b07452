"""Answers by model and headline, so that a replay costs nothing and gives the same signals.

A cache that can't be reached is a slow cache: the service logs it and asks the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from pricecast_core import logs
from pricecast_core.errors import StoreError
from pricecast_core.news import prompt
from pricecast_core.news.prompt import Answer
from pricecast_core.stores.sql import SqlDatabase

_metadata = sa.MetaData()
_answers = sa.Table(
    "news_signal_answers",
    _metadata,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
)
log = logs.get(__name__)


class AnswerCache:
    """Answers of one model about one list of coins.

    Args:
        url: SQLAlchemy URL.
        model: The model's name, with its version.
        coins: The coins asked about: another list is another question.
    """

    def __init__(self, url: str, model: str, coins: Sequence[str]) -> None:
        self._database = SqlDatabase(url)
        self._model = model
        self._coins = tuple(coins)
        self._created = False

    def get(self, headlines: Sequence[str]) -> dict[str, Answer]:
        """Returns the answers that are known, in one query."""
        keys = {self._key(headline): headline for headline in headlines}
        try:
            self._create()
            with self._database.read() as connection:
                rows = connection.execute(
                    sa.select(_answers.c.key, _answers.c.answer).where(_answers.c.key.in_(list(keys)))
                ).all()
        except StoreError as error:
            log.warning("the cache can't be read, asking the model", error=str(error))
            return {}
        return {keys[row.key]: msgspec.json.decode(row.answer, type=Answer) for row in rows}

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Keeps answers, in one statement."""
        if not answers:
            return
        rows = [
            {"key": self._key(headline), "model": self._model, "answer": msgspec.json.encode(answer)}
            for headline, answer in answers.items()
        ]
        try:
            self._create()
            with self._database.write() as connection:
                connection.execute(self._database.insert(_answers).on_conflict_do_nothing(), rows)
        except StoreError as error:
            log.warning("the cache can't be written", error=str(error))

    def close(self) -> None:
        """Gives back the connections."""
        self._database.close()

    def _create(self) -> None:
        if not self._created:
            self._database.create(_metadata)
            self._created = True

    def _key(self, headline: str) -> bytes:
        """The model and the whole question, so that a changed prompt is another question."""
        question = json.dumps([self._model, prompt.messages(headline, self._coins)])
        return hashlib.sha256(question.encode()).digest()
