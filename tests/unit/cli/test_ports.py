"""Ports are given to one run alone, though nothing listens there yet."""

from __future__ import annotations

import socket
import subprocess
import sys

from pricecast_cli.local.ports import free_port, held_port

HOLD = "import sys; from pricecast_cli.local.ports import free_port; print(free_port(int(sys.argv[1]))); input()"


def test_a_port_given_to_another_run_is_passed_over_until_that_run_ends() -> None:
    wanted = free_port()
    with subprocess.Popen(
        [sys.executable, "-u", "-c", HOLD, str(wanted)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        given = int(other.stdout.readline())
        assert given >= wanted
        assert free_port(given) > given
        other.communicate("\n")
    assert free_port(given) == given


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) > taken


def test_a_port_that_nobody_asked_for_is_none_that_a_connection_may_have_before_it_is_used() -> None:
    with held_port() as port, held_port() as other:
        assert port != other
        assert max(free_port(), port, other) < 32_768
        assert free_port(port) != port
    assert free_port(port) == port
