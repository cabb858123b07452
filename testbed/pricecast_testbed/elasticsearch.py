"""Elasticsearch's own server: one node without the commercial modules, from Maven Central's jars.

What is missing against the download from its maker: security, ES|QL, index lifecycle management, `_delete_by_query`
and the other modules that Maven Central does not carry. `GET /` is answered by a class of ours.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from pricecast_testbed import cache, jvm
from pricecast_testbed.server import Server

VERSION = "9.5.3"
_HEAP = ["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC"]
_OPEN = ["--enable-native-access=ALL-UNNAMED", "--add-opens=java.base/java.io=ALL-UNNAMED"]
_OPEN += ["--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "-Dlog4j2.disable.jmx=true"]


class Elasticsearch(Server):
    """An Elasticsearch node; `url` is its base URL."""

    name = "elasticsearch"
    url_variable = "ELASTICSEARCH_URL_TEST"

    @property
    def url(self) -> str:
        """Base URL on loopback."""
        return f"http://127.0.0.1:{self.port('http')}"

    @property
    def node_url(self) -> str:
        """Base URL on the node's address."""
        return f"http://{self.node_address}:{self.port('http')}"

    def install(self) -> None:
        """Fetches the jars and lays them out as the server wants its modules."""
        self._layout = cache.made(f"elasticsearch-{VERSION}/layout-1", _lay_out)
        self._java = jvm.java()

    def configure(self) -> None:
        """Makes the folders that the node expects."""
        for folder in ("config", "plugins", "logs", "data"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str | Path]:
        """Returns the command line of the node."""
        hosts = "127.0.0.1" if self.node_address is None else f"127.0.0.1,{self.node_address}"
        settings = [
            f"path.home={self.home}",
            f"http.port={self.port('http')}",
            f"http.host={hosts}",
            f"transport.port={self.port('transport')}",
        ]
        classpath = f"{self._layout}/launcher.jar:{self._layout}/lib/*"
        modules = self._layout / "modules"
        return [self._java, *_HEAP, *_OPEN, "-cp", classpath, "ElasticsearchNode", modules, *settings]

    def ready(self) -> bool:
        """Asks for the cluster's health."""
        try:
            with urllib.request.urlopen(f"{self.url}/_cluster/health", timeout=2) as answer:
                return json.load(answer)["status"] in {"yellow", "green"}
        except (OSError, ValueError, urllib.error.HTTPError):
            return False


def _lay_out(target: Path) -> None:
    lib = target / "lib"
    shutil.copytree(jvm.jars("elasticsearch", VERSION), lib)
    transport = _module(target, "transport-netty4", "org.elasticsearch.transport.netty4.Netty4Plugin")
    for jar in [*lib.glob("netty-*.jar"), *lib.glob("transport-netty4-*.jar")]:
        jar.rename(transport / jar.name)
    banner = _module(target, "banner", "BannerPlugin")
    jvm.compile_jar(jvm.SOURCES / "BannerPlugin.java", lib, banner / "banner.jar")
    jvm.compile_jar(jvm.SOURCES / "ElasticsearchNode.java", lib, target / "launcher.jar")


def _module(target: Path, name: str, entry: str) -> Path:
    folder = target / "modules" / name
    folder.mkdir(parents=True)
    descriptor = {
        "name": name,
        "description": name,
        "version": VERSION,
        "elasticsearch.version": VERSION,
        "java.version": str(jvm.JAVA_MINIMUM),
        "classname": entry,
        "extended.plugins": "",
        "has.native.controller": "false",
    }
    text = "".join(f"{key}={value}\n" for key, value in descriptor.items())
    (folder / "plugin-descriptor.properties").write_text(text)
    return folder
