"""Where servers are: the one place that takes URLs and lists of brokers apart.

What can't be read is refused by field and remedy, never by value: a URL may hold a password.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pricecast_core.errors import SettingsError

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_LARGEST_PORT = 65_535


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host and port.

    Attributes:
        host: Name or IP address, IPv6 without brackets.
        port: TCP port.
    """

    host: str
    port: int


def of_url(url: str, field: str, schemes: Iterable[str] = ("http", "https")) -> Address:
    """Returns the address in a URL.

    Args:
        url: The URL.
        field: What messages call it.
        schemes: The schemes that it may have.

    Raises:
        SettingsError: If it is no such URL; the message doesn't repeat it.
    """
    allowed = tuple(schemes)
    remedy = f"write {' or '.join(f'{scheme}://' for scheme in allowed)}HOST[:PORT], IPv6 in brackets"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(f"{field}: its host or port can't be read; {remedy}") from None
    if parts.scheme not in allowed or not host or any(each.isspace() for each in url):
        raise SettingsError(f"{field}: is not such a URL; {remedy}")
    return Address(host, checked_port(_PORTS.get(parts.scheme, 443) if port is None else port, field))


def of_brokers(brokers: str, field: str) -> tuple[Address, ...]:
    """Returns the addresses of Kafka's bootstrap servers, each once.

    Raises:
        SettingsError: If one is not HOST:PORT.
    """
    found = []
    for broker in brokers.split(","):
        host, colon, port = broker.strip().rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not (colon and bare and port.isascii() and port.isdigit()) or (
            set(host) & set(":[]") and not _is_ipv6(host, bare)
        ):
            raise SettingsError(
                f"{field}: {broker.strip()!r} is not HOST:PORT; write for example kafka:9092, [::1]:9092"
            )
        found.append(Address(bare.lower(), checked_port(int(port), field)))
    return tuple(dict.fromkeys(found))


def _is_ipv6(host: str, bare: str) -> bool:
    try:
        ipaddress.IPv6Address(bare)
    except ValueError:
        return False
    return host == f"[{bare}]"


def checked_port(port: int, field: str) -> int:
    """Returns a port.

    Raises:
        SettingsError: If it is none.
    """
    if not 0 < port <= _LARGEST_PORT:
        raise SettingsError(f"{field}: port {port} is out of range; ports are 1 to {_LARGEST_PORT}")
    return port
