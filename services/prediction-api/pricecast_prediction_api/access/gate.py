"""The gate that every call passes, whatever its protocol: who calls, and is it too often?"""

from __future__ import annotations

from pricecast_core import logs
from pricecast_core.access_tokens import PREFIX
from pricecast_core.metrics import API_REFUSALS
from pricecast_core.settings import PredictionApiSettings
from pricecast_prediction_api.access.caller import ANYONE, Caller
from pricecast_prediction_api.access.oidc import Issuer, KeysError, Oidc
from pricecast_prediction_api.access.rates import Rates
from pricecast_prediction_api.access.tokens import Tokens
from pricecast_prediction_api.problems import ApiError, too_many, unauthenticated, unavailable

COOKIE = "pricecast_token"
"""The cookie in which the web page keeps its token: scripts can't read it, and event streams send it."""
ADMITTED = "pricecast.caller"
"""The key of a request's scope that holds the caller, where the gate has let it in already."""
_SCHEME = "bearer "
_LONGEST = 8192

log = logs.get(__name__)


class Gate:
    """Lets callers in, or refuses them with one line in the log.

    Args:
        settings: Which tokens count, and how often anyone may ask where none does.

    Raises:
        SettingsError: If the file of tokens can't be used.
    """

    def __init__(self, settings: PredictionApiSettings) -> None:
        self._tokens = Tokens(settings.api_tokens_file) if settings.api_tokens_file is not None else None
        self._oidc = (
            Oidc(
                Issuer(
                    settings.oidc_issuer, settings.oidc_audience, settings.oidc_keys_url, settings.oidc_pipelines_claim
                )
            )
            if settings.oidc_issuer
            else None
        )
        self._rates = Rates()
        self._anyone = settings.requests_per_second
        self.is_open = self._tokens is None and self._oidc is None
        self.is_free = self.is_open and not self._anyone

    async def enter(self, authorization: str, peer: str, what: str) -> Caller:
        """Returns who calls.

        Args:
            authorization: The header of that name, or empty.
            peer: The caller's address.
            what: The method or path, for the log.

        Raises:
            ApiError: UNAUTHENTICATED, RESOURCE_EXHAUSTED, or UNAVAILABLE where the issuer can't be asked.
        """
        try:
            if self.is_open:
                self._count(peer, self._anyone)
                return ANYONE
            caller = await self._find(authorization)
            self._count(caller.name, caller.requests_per_second)
        except ApiError as error:
            API_REFUSALS.labels(error.code.name).inc()
            log.warning("refused", code=error.code.name, reason=error.message, peer=peer, method=what)
            raise
        return caller

    async def _find(self, authorization: str) -> Caller:
        if not authorization:
            raise unauthenticated("no token; send the header `authorization: Bearer TOKEN`")
        if not authorization[: len(_SCHEME)].lower() == _SCHEME or len(authorization) > _LONGEST:
            raise unauthenticated("the header is none of `authorization: Bearer TOKEN`")
        token = authorization[len(_SCHEME) :].strip()
        caller = None
        if token.startswith(PREFIX) or self._oidc is None:
            caller = self._tokens.find(token) if self._tokens is not None else None
        else:
            try:
                caller = await self._oidc.find(token)
            except KeysError as error:
                raise unavailable(f"{error}; try again", "ISSUER_UNAVAILABLE", 10) from error
        if caller is None:
            raise unauthenticated("the token is unknown or has expired; ask for another")
        return caller

    def _count(self, name: str, per_second: float) -> None:
        if per_second and (wait := self._rates.take(name, per_second)):
            raise too_many(per_second, wait)


def authorization_of(header: str, cookie: str) -> str:
    """Returns the authorization of an HTTP request: its header, else the token in its cookie."""
    if header:
        return header
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return f"Bearer {value}"
    return ""
