"""The last candles of a pair: contiguous in memory for computing, one small record each in the stream's state.

A candle's record lies in the slot of its window's number, so that adding a candle writes one record, and reading
the history back goes from the newest record to the one before until a candle is missing.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol

import numpy as np

from pricecast_core.indicators import LONGEST_HISTORY
from pricecast_core.messages import Candle
from pricecast_technical_indicators.formulas import COLUMNS, Array

_RECORD: Final = struct.Struct("<qq5d")  # window end, candle's length in ms, open, high, low, close, volume
_SLOTS: Final = LONGEST_HISTORY  # so that the history's length can be changed
_NEWEST: Final = "newest"


class State(Protocol):
    """What of quixstreams' state is used."""

    def get_bytes(self, key: Any, default: Any = None) -> Any:
        """Returns the bytes of a key."""

    def set_bytes(self, key: Any, value: bytes) -> None:
        """Sets the bytes of a key."""


class History:
    """The newest candles of a pair, without a gap.

    Args:
        size: Most candles kept.
        candle_seconds: Their length.
    """

    def __init__(self, size: int, candle_seconds: int) -> None:
        self._size = size
        self._length_ms = candle_seconds * 1000
        self._array: Array = np.empty((len(COLUMNS), 2 * size))
        self._end = 0
        self._count = 0
        self._unsaved: list[bytes] = []
        self.newest_ms = -1

    @classmethod
    def load(cls, state: State, size: int, candle_seconds: int) -> History:
        """Reads back what `save` has written."""
        history = cls(size, candle_seconds)
        newest = state.get_bytes(_NEWEST)
        if newest is None:
            return history
        end_ms = int.from_bytes(newest, "little")
        records: list[tuple[Any, ...]] = []
        while len(records) < size:
            packed = state.get_bytes(history._slot(end_ms))
            if packed is None:
                break
            record = _RECORD.unpack(packed)
            if record[0] != end_ms or record[1] != history._length_ms:
                break
            records.append(record)
            end_ms -= history._length_ms
        for record in reversed(records):
            history._append(record[0], record[2:])
        return history

    def add(self, candle: Candle) -> None:
        """Adds the next candle; after a gap the history begins anew with it."""
        if candle.window_end_ms != self.newest_ms + self._length_ms:
            self._count = 0
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        self._append(candle.window_end_ms, values)
        self._unsaved.append(_RECORD.pack(candle.window_end_ms, self._length_ms, *values))

    @property
    def changed(self) -> bool:
        """Whether candles have been added since the history was loaded or saved."""
        return bool(self._unsaved)

    def full(self) -> bool:
        """Returns whether there are as many candles as are kept."""
        return self._count == self._size

    def arrays(self) -> Array:
        """Returns the candles, shape (5, candles), oldest first, each row contiguous; valid until the next `add`."""
        return self._array[:, self._end - self._count : self._end]

    def save(self, state: State) -> None:
        """Writes the candles added since the history was loaded or saved."""
        for packed in self._unsaved[-self._size :]:
            state.set_bytes(self._slot(_RECORD.unpack(packed)[0]), packed)
        if self.changed:
            state.set_bytes(_NEWEST, self.newest_ms.to_bytes(8, "little"))
            self._unsaved.clear()

    def _append(self, end_ms: int, values: tuple[float, ...]) -> None:
        if self._end == self._array.shape[1]:
            keep = self._size - 1
            self._array[:, :keep] = self._array[:, self._end - keep : self._end]
            self._end = keep
        self._array[:, self._end] = values
        self._end += 1
        self._count = min(self._count + 1, self._size)
        self.newest_ms = end_ms

    def _slot(self, end_ms: int) -> str:
        return str(end_ms // self._length_ms % _SLOTS)
