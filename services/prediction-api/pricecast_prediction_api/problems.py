"""What can go wrong for a caller, told once and rendered by each protocol.

The gRPC server sends a `google.rpc.Status` with its details in the trailers; the HTTP gateway sends an RFC 9457
problem with the same code, words and details. The code mapping is that of google/rpc/code.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "pricecast.dev"

HTTP_STATUS: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class ApiError(Exception):
    """An answer other than OK.

    Attributes:
        code: The status code.
        message: What is wrong and what to do, for a person.
        details: Messages of google/rpc/error_details.proto, for a program.
        allow: The HTTP verbs that are allowed, where the one used isn't.
    """

    def __init__(self, code: grpc.StatusCode, message: str, *details: Message, allow: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.allow = allow

    def status(self) -> status_pb2.Status:
        """Returns the error as gRPC's rich status."""
        packed = []
        for detail in self.details:
            wrapper = any_pb2.Any()
            wrapper.Pack(detail)
            packed.append(wrapper)
        return status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)

    @property
    def http_status(self) -> int:
        """The HTTP status that tells the same."""
        return 405 if self.allow else HTTP_STATUS[self.code]

    @property
    def http_headers(self) -> dict[str, str]:
        """The HTTP headers that tell a program what to do."""
        headers = {"allow": ", ".join(self.allow)} if self.allow else {}
        if self.code is grpc.StatusCode.UNAUTHENTICATED:
            headers["www-authenticate"] = f'Bearer realm="{DOMAIN}"'
        for detail in self.details:
            if isinstance(detail, error_details_pb2.RetryInfo):
                headers["retry-after"] = str(max(1, math.ceil(detail.retry_delay.ToTimedelta().total_seconds())))
        return headers

    def problem(self) -> dict[str, Any]:
        """Returns the error as the body of an `application/problem+json`."""
        status = json_format.MessageToDict(self.status())
        return {
            "type": "about:blank",
            "title": self.code.name.replace("_", " ").capitalize(),
            "status": self.http_status,
            "detail": self.message,
            "code": self.code.name,
            "details": status.get("details", []),
        }


def invalid(field: str, description: str) -> ApiError:
    """Returns the error for a field of the request that can't be used; `description` says what can."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    return ApiError(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{field}: {description}",
        error_details_pb2.BadRequest(field_violations=[violation]),
    )


def not_found(noun: str, values: Iterable[object], known: Iterable[object]) -> ApiError:
    """Returns the error for pairs, pipelines or horizons that aren't served; `known` are those that are."""
    asked, served = ", ".join(map(str, values)), ", ".join(map(str, known))
    remedy = f"predicted are: {served}" if served else "nothing is predicted yet; try again later"
    info = error_details_pb2.ErrorInfo(
        reason=f"UNKNOWN_{noun.upper()}", domain=DOMAIN, metadata={noun: asked, f"known_{noun}s": served}
    )
    return ApiError(grpc.StatusCode.NOT_FOUND, f"{noun}: {asked} is not predicted; {remedy}", info)


def several(pair: str, pipelines: Sequence[str]) -> ApiError:
    """Returns the error where one pipeline is to answer for a pair and several could: it lists them."""
    candidates = ", ".join(pipelines)
    told = f"several predict {pair}; name one of {candidates}"
    violation = error_details_pb2.BadRequest.FieldViolation(field="pipeline", description=told)
    return ApiError(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"pipeline: {told}",
        error_details_pb2.BadRequest(field_violations=[violation]),
        error_details_pb2.ErrorInfo(
            reason="SEVERAL_PIPELINES", domain=DOMAIN, metadata={"pair": pair, "pipelines": candidates}
        ),
    )


def unavailable(message: str, reason: str, retry_seconds: int = 1) -> ApiError:
    """Returns the error for what should work again soon, and when to try."""
    return ApiError(
        grpc.StatusCode.UNAVAILABLE,
        message,
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN),
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_seconds)),
    )


def unauthenticated(message: str) -> ApiError:
    """Returns the error for a caller that hasn't shown who it is; the same whatever was wrong with a token."""
    info = error_details_pb2.ErrorInfo(reason="UNAUTHENTICATED", domain=DOMAIN)
    return ApiError(grpc.StatusCode.UNAUTHENTICATED, message, info)


def too_many(per_second: float, wait_seconds: float) -> ApiError:
    """Returns the error for a caller that asks more often than it may, and when it may again."""
    delay = Duration()
    delay.FromNanoseconds(math.ceil(wait_seconds * 1e9))
    return ApiError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"more than {per_second:g} requests a second; wait {wait_seconds:.2g} s, or watch instead of asking",
        error_details_pb2.ErrorInfo(reason="RATE_LIMIT", domain=DOMAIN),
        error_details_pb2.RetryInfo(retry_delay=delay),
    )
