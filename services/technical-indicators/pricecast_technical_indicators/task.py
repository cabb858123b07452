"""The technical-indicators service's work on the stream: each pair's last candles, and a row for each new one."""

from __future__ import annotations

from pricecast_core import metrics, services
from pricecast_core.errors import BadMessageError
from pricecast_core.indicators import choose
from pricecast_core.messages import Candle, IndicatorRow
from pricecast_core.settings import TechnicalIndicatorsSettings
from pricecast_core.streaming import StreamTask
from pricecast_core.topics import TECHNICAL_INDICATORS
from pricecast_core.values import base_coin
from pricecast_technical_indicators import formulas
from pricecast_technical_indicators.history import History

SERVICE = services.TECHNICAL_INDICATORS.group


class TechnicalIndicatorsTask(StreamTask[Candle]):
    """Publishes the row of each closed candle that has a full history before it."""

    def __init__(self, settings: TechnicalIndicatorsSettings) -> None:
        self._seconds = settings.candle_seconds
        self._size = settings.history_candles
        self._chosen = choose(settings.indicators)
        self._histories: dict[tuple[int, str], History] = {}

    def handle(self, candle: Candle, partition: int) -> None:
        """Adds a closed candle. An open one, or one that is there already, changes nothing.

        Raises:
            BadMessageError: If it has another length than the pipeline's candles (`wrong_length`).
        """
        if not candle.closed:
            return
        if candle.candle_seconds != self._seconds:
            raise BadMessageError(
                f"candle_seconds: {candle.candle_seconds} is not this pipeline's {self._seconds}",
                "candle_seconds",
                "wrong_length",
            )
        pair = candle.pair
        history = self._histories.get((partition, pair))
        if history is None:
            history = History.load(self.stream.state(partition, pair), self._size, self._seconds)
            self._histories[partition, pair] = history
        if candle.window_end_ms <= history.newest_ms:
            return
        history.add(candle)
        if history.full():
            self.stream.publish(TECHNICAL_INDICATORS, pair, self._row(candle, history))

    def checkpoint(self) -> None:
        """Writes the new candles to the state."""
        for (partition, pair), history in self._histories.items():
            if history.changed:
                history.save(self.stream.state(partition, pair))
                metrics.EVENT_TIME.labels(SERVICE, pair).set(history.newest_ms / 1000)

    def discard(self) -> None:
        """Forgets the histories in memory."""
        self._histories.clear()

    def _row(self, candle: Candle, history: History) -> IndicatorRow:
        return IndicatorRow(
            pair=candle.pair,
            coin=base_coin(candle.pair),
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            volume=candle.volume,
            trade_count=candle.trade_count,
            window_start_ms=candle.window_start_ms,
            window_end_ms=candle.window_end_ms,
            candle_seconds=candle.candle_seconds,
            indicators=formulas.compute(self._chosen, history.arrays()),
        )
