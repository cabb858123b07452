"""JSON Web Tokens of an OpenID Connect issuer (RFC 7519, OpenID Connect Discovery 1.0).

Only asymmetric signatures count: with `none`, or with a secret that both sides know, anyone who knows the issuer's
public key could sign. Keys are read from the issuer when a token names one that isn't known, and once in a while.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from pricecast_core import logs
from pricecast_prediction_api.access.caller import Caller

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_SECONDS = 30
_KEYS_SECONDS = 300.0
"""Age at which keys are read again: an issuer that takes one back is believed so soon."""
_PAUSE_SECONDS = 10.0
"""Least time between two reads: tokens with invented key ids cause no more."""
_TIMEOUT_SECONDS = 5.0
_MOST_CACHED = 1000
_CACHE_SECONDS = 60.0

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted.

    Attributes:
        url: The issuer, as tokens name it in `iss`.
        audience: What tokens must name in `aud`.
        keys_url: Where its keys are; empty asks its discovery document.
        pipelines_claim: The claim that lists patterns of the pipelines that the holder may see.
    """

    url: str
    audience: str
    keys_url: str = ""
    pipelines_claim: str = "pricecast_pipelines"


class KeysError(Exception):
    """The issuer's keys can't be read: nobody can be let in or refused on their account."""


class Oidc:
    """Checks tokens against an issuer's keys.

    Args:
        issuer: The issuer.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    async def find(self, token: str) -> Caller | None:
        """Returns the holder of a valid token, or None.

        Raises:
            KeysError: If the issuer's keys can't be read, and none are known.
        """
        now = time.monotonic()
        if (cached := self._known.get(token)) is not None:
            if now < cached[0]:
                return cached[1]
            del self._known[token]
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                return None
            key = await self._key(str(header.get("kid", "")))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=[str(header["alg"])],
                audience=self._issuer.audience,
                issuer=self._issuer.url,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        caller = self._caller(claims)
        if caller is not None:
            lasts = min(_CACHE_SECONDS, float(claims["exp"]) + _LEEWAY_SECONDS - time.time())
            self._known[token] = (now + lasts, caller)
            if len(self._known) > _MOST_CACHED:
                self._known.popitem(last=False)
        return caller

    def _caller(self, claims: dict[str, Any]) -> Caller | None:
        pipelines = claims.get(self._issuer.pipelines_claim, [])
        if isinstance(pipelines, str):
            pipelines = pipelines.split()
        if not isinstance(pipelines, list) or not all(isinstance(pattern, str) for pattern in pipelines):
            return None
        return Caller(f"{claims['sub']}@{self._issuer.url}", tuple(pipelines))

    async def _key(self, name: str) -> jwt.PyJWK | None:
        if name not in self._keys or time.monotonic() - self._read_at > _KEYS_SECONDS:
            async with self._lock:
                await self._read_keys(name)
        return self._keys.get(name)

    async def _read_keys(self, name: str) -> None:
        now = time.monotonic()
        fresh = name in self._keys and now - self._read_at <= _KEYS_SECONDS
        if fresh or now - self._tried_at < _PAUSE_SECONDS:  # another caller has read them, or tried to, just now
            if not self._keys:
                raise KeysError("the issuer's keys can't be read")
            return
        self._tried_at = now
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
                url = self._issuer.keys_url or await self._discover(client)
                answer = (await client.get(url)).raise_for_status().json()
            keys = jwt.PyJWKSet.from_dict(answer).keys
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error(
                "the issuer's keys can't be read", issuer=self._issuer.url, error=f"{type(error).__name__}: {error}"
            )
            if not self._keys:
                raise KeysError("the issuer's keys can't be read") from error
            return
        self._read_at = now
        self._known.clear()
        self._keys = {key.key_id or "": key for key in keys}

    async def _discover(self, client: httpx.AsyncClient) -> str:
        url = self._issuer.url.rstrip("/") + "/.well-known/openid-configuration"
        return str((await client.get(url)).raise_for_status().json()["jwks_uri"])
