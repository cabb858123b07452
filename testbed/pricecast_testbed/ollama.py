"""Ollama's server for the CPU, built from the Go module proxy where the machine has none.

Two things are missing from its module there and are put beside it: Debian's headers of nlohmann-json and stb, and
miniaudio's, which only matters to models that listen: a stub of ours refuses audio.
"""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

from pricecast_testbed import cache, golang
from pricecast_testbed.server import Server
from pricecast_testbed.shell import apt_install, find, say

VERSION = "0.17.4"
_INCLUDE = Path(__file__).with_name("include")
_INSTRUCTIONS = "x86-64-v3"  # AVX2: without it a token takes several times as long


class Ollama(Server):
    """An Ollama server; `url` is its base URL."""

    name = "ollama"
    url_variable = "OLLAMA_HOST_TEST"

    @property
    def url(self) -> str:
        """Base URL on loopback."""
        return f"http://127.0.0.1:{self.port('ollama')}"

    @property
    def node_url(self) -> str:
        """Base URL on the node's address; it then listens there only, for it takes one address."""
        return f"http://{self.node_address}:{self.port('ollama')}"

    def install(self) -> None:
        """Takes the machine's own, else builds it (about five minutes)."""
        installed = find("ollama")
        self._binary = Path(installed) if installed else cache.made(f"ollama-{VERSION}", _build) / "ollama"

    def configure(self) -> None:
        """Makes the folder of the models."""
        (self.data / "models").mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Returns where it listens and keeps its models."""
        return {
            "OLLAMA_HOST": self._address().removeprefix("http://"),
            "OLLAMA_MODELS": str(self.data / "models"),
            "HOME": str(self.home),
        }

    def command(self) -> list[str | Path]:
        """Returns the command line of the server."""
        return [self._binary, "serve"]

    def ready(self) -> bool:
        """Asks for its version."""
        try:
            with urllib.request.urlopen(f"{self._address()}/api/version", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _address(self) -> str:
        return self.url if self.node_address is None else self.node_url


def _build(target: Path) -> None:
    apt_install("g++", "nlohmann-json3-dev", "libstb-dev")
    say(f"building ollama {VERSION}: about five minutes")
    native = f"-O3 -march={_INSTRUCTIONS}" if os.uname().machine == "x86_64" else "-O3"
    golang.install(
        f"github.com/ollama/ollama@v{VERSION}",
        target,
        flags=["-ldflags", f"-s -w -X github.com/ollama/ollama/version.Version={VERSION}"],
        env={"CGO_ENABLED": "1", "CGO_CFLAGS": native, "CGO_CXXFLAGS": f"{native} -I{_INCLUDE}"},
    )
