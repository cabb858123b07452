"""The command line: `python -m pricecast_testbed SERVER start|stop|wipe|status|url`, and the cluster's commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pricecast_testbed import Elasticsearch, Kafka, Ollama, Postgres, Server, TestbedError, cache, prometheus, promtool
from pricecast_testbed.kubernetes import Cluster, images
from pricecast_testbed.page import PageTools

_SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in (Kafka, Elasticsearch, Postgres, Ollama)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Does what the command line says; exits with 1 and one message where that fails."""
    parser = argparse.ArgumentParser(prog="pricecast_testbed", description="Real servers for tests.")
    names = parser.add_subparsers(dest="what", required=True)
    for name, kind in _SERVERS.items():
        server = names.add_parser(name, help=f"a real {name}; {kind.url_variable} names another one to use instead")
        server.add_argument("action", choices=["start", "stop", "wipe", "status", "url"])
        server.add_argument("--node-address", help="also listen on this address, for pods")
    names.add_parser("prometheus", help="the paths of prometheus and promtool")
    page = names.add_parser("page", help="the web page's bundle, made by the locked tools")
    page.add_argument("sources", type=Path, help="folder of the page's package.json")
    cluster = names.add_parser("kubernetes", help="a real single-node cluster on this machine")
    cluster.add_argument("action", choices=["up", "down", "wipe", "status", "kubeconfig", "bin"])
    image = names.add_parser("images", help="container images for the cluster, without a registry")
    image.add_argument("action", choices=["build"])
    image.add_argument("services", nargs="+", metavar="SERVICE", help="a folder below services/, or `operator`")
    image.add_argument("--repository", type=Path, default=Path(), help="folder of the Dockerfile")
    image.add_argument("--tag", default="dev")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.what == "prometheus":
            print(prometheus())
            print(promtool())
        elif parsed.what == "page":
            tools = PageTools(parsed.sources)
            tools.install()
            tools.check()
            tools.build()
        elif parsed.what == "kubernetes":
            sys.exit(_cluster(parsed.action))
        elif parsed.what == "images":
            for name in images.build(Cluster().layout, parsed.repository, parsed.services, tag=parsed.tag):
                print(name)
        else:
            sys.exit(_serve(_SERVERS[parsed.what], parsed.action, parsed.node_address))
    except TestbedError as error:
        sys.exit(f"testbed: {error}")


def _serve(kind: type[Server], action: str, node_address: str | None) -> int:
    if given := os.environ.get(kind.url_variable):
        print(given)
        return 0
    server = kind(cache.root() / "run" / kind.name, node_address=node_address)
    if action == "start":
        server.start()
    elif action == "stop":
        server.stop()
    elif action == "wipe":
        server.wipe()
    if action in {"start", "url"}:
        print(server.url if node_address is None else server.node_url)
    elif action == "status":
        print(f"{kind.name} {'runs: ' + server.url if server.running else 'does not run'}")
        return 0 if server.running else 3
    return 0


def _cluster(action: str) -> int:
    cluster = Cluster()
    if action == "up":
        cluster.up()
    elif action == "down":
        cluster.down()
    elif action == "wipe":
        cluster.wipe()
    if action in {"up", "kubeconfig"}:
        print(cluster.layout.admin)
    elif action == "bin":
        print(cluster.layout.kube)
    elif action == "status":
        print(f"the cluster {'runs' if cluster.running else 'does not run'}")
        return 0 if cluster.running else 3
    return 0
