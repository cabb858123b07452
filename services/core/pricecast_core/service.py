"""How every service starts and ends: settings, logs, health, the work, one exit code.

Exit codes: 0 done or asked to stop; 75 (EX_TEMPFAIL) not possible yet, try again later; 78 (EX_CONFIG) trying again is
useless: a setting is wrong, or a result misses its bar; 1 anything else, restart me.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from pricecast_core import logs
from pricecast_core.errors import (
    BelowBarError,
    NotEnoughHistoryError,
    PricecastError,
    SettingsError,
    StoppedWaitingError,
    UnfinishedError,
)
from pricecast_core.health import Health
from pricecast_core.settings import ServiceSettings, load
from pricecast_core.starting import EX_TEMPFAIL

EX_OK = 0
EX_FAILED = 1
EX_CONFIG = 78

S = TypeVar("S", bound=ServiceSettings)


class Stop:
    """Set once the process is asked to end (SIGTERM, SIGINT); work loops and waits watch it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        """Asks to stop. Once is enough: what is called hears of it once, however often a person presses Ctrl-C."""
        if self._event.is_set():
            return
        self._event.set()
        for callback in self._callbacks:
            callback()

    def is_set(self) -> bool:
        """Returns whether the process is to stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits so long, or until asked to stop; returns whether to stop."""
        return self._event.wait(seconds)

    def call(self, callback: Callable[[], None]) -> None:
        """Has `callback` called from the signal handler once asked to stop, or now if that was before. It must not block."""
        self._callbacks.append(callback)
        if self._event.is_set():
            callback()


def configured(name: str, kind: type[S]) -> S:
    """Returns the settings of a process, its log set up as they say; exits with what is wrong with them.

    Args:
        name: Name of the process, in logs.
        kind: Class of its settings.
    """
    try:
        settings = load(kind)
    except SettingsError as error:
        logs.configure(name)
        logs.get(name).error("settings refused", error=str(error))
        sys.exit(EX_CONFIG)
    logs.configure(name, settings.log_level, settings.log_style)
    return settings


def run(name: str, kind: type[S], work: Callable[[S, Health, Stop], None]) -> None:
    """Runs a service to its end and exits the process.

    Args:
        name: Name of the service, in logs and metrics.
        kind: Class of its settings.
        work: The service itself: returns when the work is done or `Stop` is set.
    """
    log = logs.get(name)
    stop, health = Stop(), Health()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    settings = configured(name, kind)
    try:
        port = health.start(settings.http_host, settings.http_port)
        log.info("started", health=f"http://{settings.http_host}:{port}")
        work(settings, health, stop)
    except SettingsError as error:
        log.error("settings refused", error=str(error))
        sys.exit(EX_CONFIG)
    except BelowBarError as error:
        log.error("below the bar", error=str(error))
        sys.exit(EX_CONFIG)
    except (NotEnoughHistoryError, UnfinishedError) as error:
        log.warning("not yet", error=str(error))
        sys.exit(EX_TEMPFAIL)
    except StoppedWaitingError as error:
        log.warning("stopped while waiting", error=str(error))
        sys.exit(EX_OK)
    except PricecastError as error:
        log.error("failed", error=str(error), kind=type(error).__name__)
        sys.exit(EX_FAILED)
    except Exception:
        log.exception("crashed")
        sys.exit(EX_FAILED)
    finally:
        health.stop()
    log.info("stopped")
    sys.exit(EX_OK)
