"""What every program does first, before it imports anything that takes time, and last.

Imports take a second, on a starved machine many. A process that is told to end meanwhile has nothing to bring to an
end, so it ends at once. Python by itself would answer SIGINT with a traceback from the midst of an import; and the
first process of a container wouldn't hear SIGTERM at all, for the kernel passes over what such a process doesn't handle.
Once the work is done, a signal changes nothing any more: the exit code is that of the work.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable

EX_TEMPFAIL = 75
"""Not possible yet, try again later: also what a process says that was told to end before it had begun."""
EX_INTERRUPTED = 128 + signal.SIGINT
"""Broken off by a person, as shells say it."""


def program(module: str) -> Callable[[], None]:
    """Returns the entry point of a console script: it imports a module, then runs its `main`.

    SIGTERM ends it at once until `main` handles it, SIGINT until everything is imported; then it is Python's own.
    """

    def run() -> None:
        # A parent may have had SIGINT ignored, as `nohup` and a shell's background jobs do: then it stays ignored.
        interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGTERM, lambda *_: os._exit(EX_TEMPFAIL))
        try:
            if interruptible:
                signal.signal(signal.SIGINT, lambda *_: os._exit(EX_INTERRUPTED))
            main = importlib.import_module(module).main
            if interruptible:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            main()
        except KeyboardInterrupt:
            sys.exit(EX_INTERRUPTED)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    return run
