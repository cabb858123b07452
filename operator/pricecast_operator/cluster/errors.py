"""How the API server says no: one error, whatever the client library raised."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from pricecast_core.errors import PricecastError

T = TypeVar("T")
_NOT_PERMITTED = re.compile(r" cannot \w+ resource ")
"""How RBAC says no; a webhook, Pod Security or a range of limits says it otherwise."""


class ClusterError(PricecastError):
    """The API server refused a call or can't be reached.

    Attributes:
        status: HTTP status; 0 where there was no answer.
        reason: One word, such as Conflict.
        message: The API server's words.
        namespace_ends: Whether it was refused because the namespace is being deleted.
    """

    def __init__(self, what: str, status: int, reason: str, message: str, *, namespace_ends: bool = False) -> None:
        super().__init__(f"{what}: {reason or status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.namespace_ends = namespace_ends

    @property
    def is_final(self) -> bool:
        """Whether trying the same again at once is useless."""
        return self.status in (400, 403, 405, 413, 415, 422)

    @property
    def cause(self) -> str:
        """One word that tells people whose no it is: a quota, an admission rule, our own rights, or the API's."""
        if self.status != 403:
            return "Refused"
        if "exceeded quota" in self.message:
            return "QuotaExceeded"
        return "NotPermitted" if _NOT_PERMITTED.search(self.message) else "AdmissionDenied"

    @property
    def is_taken(self) -> bool:
        """Whether something was not created because there is one of that name."""
        return self.status == 409 and self.reason == "AlreadyExists"


def translated(what: str, call: Callable[[], T]) -> T:
    """Makes a call of the client library; its errors become ours.

    Raises:
        ClusterError: If the API server refuses the call or can't be reached.
    """
    try:
        return call()
    except ApiException as error:
        body: dict[str, Any] = {}
        try:
            body = json.loads(error.body or "{}")
        except ValueError:
            body = {"message": str(error.body)[:500]}
        causes = (body.get("details") or {}).get("causes") or []
        raise ClusterError(
            what,
            int(error.status or 0),
            body.get("reason") or str(error.reason or ""),
            body.get("message") or "",
            namespace_ends=any(cause.get("reason") == "NamespaceTerminating" for cause in causes),
        ) from None
    except ResourceNotFoundError as error:
        raise ClusterError(what, 404, "NoSuchKind", str(error)) from None
    except OSError as error:
        raise ClusterError(what, 0, "Unreachable", str(error)) from None
    except Exception as error:
        if type(error).__module__.startswith("urllib3"):
            raise ClusterError(what, 0, "Unreachable", str(error)) from None
        raise
