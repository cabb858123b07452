"""Ctrl-C before a program has its own answer to it, while its modules are still imported: it ends without a traceback.

Programs import this before anything else. The exit code stays what a shell expects of an interrupt.
"""

from __future__ import annotations

import sys
from types import TracebackType


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _hook
