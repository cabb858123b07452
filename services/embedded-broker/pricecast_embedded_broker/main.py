"""The console script: it becomes the broker, so that whoever supervises it signals the broker itself."""

from __future__ import annotations

import os
import sys

from pricecast_embedded_broker.broker import BrokerError, binary


def main() -> None:
    """Runs the broker in this process's place; its settings are BROKER_PORT, BROKER_DATA_DIR and HTTP_PORT."""
    try:
        path = str(binary())
    except BrokerError as error:
        sys.exit(str(error))
    os.execv(path, [path, *sys.argv[1:]])  # noqa: S606 - no shell is wanted
