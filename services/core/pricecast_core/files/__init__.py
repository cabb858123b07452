"""Market data in files: the one place that says what a row is, in which order rows come, and why one is refused.

Kraken publishes two kinds of CSV for each pair, without header, in UTC seconds: trades (`timestamp,price,volume`) and
OHLCVT bars (`timestamp,open,high,low,close,volume,trades`). The trades service, `pricecast up --replay` and
`pricecast backtest` all read them through this package.
"""

from __future__ import annotations

from pricecast_core.files.history import History, Tally
from pricecast_core.files.market_file import FEW, MarketFile, common_kind, survey
from pricecast_core.files.reading import BadLine
from pricecast_core.files.rows import BarRow, Kind, Row, TradeRow

FILES_READ = "files read"
"""The log event in which whoever has read files to their end says what became of their lines."""

__all__ = [
    "FEW",
    "FILES_READ",
    "BadLine",
    "BarRow",
    "History",
    "Kind",
    "MarketFile",
    "Row",
    "Tally",
    "TradeRow",
    "common_kind",
    "survey",
]
