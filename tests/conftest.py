"""What holds for every test: properties judge results, not the speed of the machine; a run in the background is no other."""

from __future__ import annotations

import signal
import threading

from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # In the background of a shell pytest is started deaf to SIGINT, and so would be what tests start and end by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("pricecast", deadline=None)
settings.load_profile("pricecast")
