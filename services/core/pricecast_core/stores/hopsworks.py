"""The connection to Hopsworks: one for a process, since its client keeps one for all.

`hopsworks.login` asks at a prompt for what it isn't told, takes orders from the environment (verification off), and
looks for a key in the user's home. A pod has no terminal, no home and a read-only root, so the connection is made
by the class underneath, with everything said, and its certificates lie in a temporary folder of their own.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pricecast_core.errors import SettingsError
from pricecast_core.stores.client_errors import told

EXTRA = "pricecast-core[hopsworks]"
_REQUEST_SECONDS = 30.0
_REMEDIES: Mapping[int | str, str] = {
    "CERTIFICATE_VERIFY_FAILED": "set HOPSWORKS_CA to the certificate of the authority that signed the server's",
    401: "check HOPSWORKS_API_KEY: it is unknown, expired or revoked",
    403: "give the API key the scopes project, featurestore, kafka and job, and its user a role in the project",
    404: "check HOPSWORKS_PROJECT",
    429: "the quota is used up: wait, or raise the project's quota",
}


@dataclass(frozen=True, slots=True)
class HopsworksAccess:
    """What it takes to use a project.

    Attributes:
        host: Host name, without a scheme.
        port: Port of its REST API.
        project: Name of the project.
        api_key: An API key.
        ca: Certificates of the authority that signed the server's, PEM; empty for those that the machine trusts.
    """

    host: str
    port: int
    project: str
    api_key: str = field(repr=False)
    ca: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"Hopsworks at {self.host}:{self.port}, project {self.project}"


class _Connection:
    def __init__(self, access: HopsworksAccess) -> None:
        self.access = access
        self.users = 1
        self.folder = Path(tempfile.mkdtemp(prefix="pricecast-hopsworks-"))
        trust = None
        if access.ca:
            trust = self.folder / "authority.pem"
            trust.write_text(access.ca)
        try:
            with errors(access, "connect"):
                self.client: Any = _client().connection(
                    host=access.host,
                    port=access.port,
                    engine="python",
                    hostname_verification=True,
                    trust_store_path=None if trust is None else str(trust),
                    cert_folder=str(self.folder / "certificates"),
                    api_key_value=access.api_key,
                )
                _limit_waiting()
                self.client._provide_project(
                    access.project
                )  # told the project at once, it fails on a client not yet set
                self.features: Any = self.client._get_feature_store()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def close(self) -> None:
        self.client._close()
        shutil.rmtree(self.folder, ignore_errors=True)


_lock = threading.Lock()
_open: list[_Connection] = []


def feature_store(access: HopsworksAccess) -> Any:
    """Returns the project's feature store, of the connection that this process has or makes now.

    Raises:
        SettingsError: If this process is connected to another project, or the client library isn't installed.
        StoreError: If Hopsworks can't be reached or refuses.
    """
    with _lock:
        if _open:
            if _open[0].access != access:
                raise SettingsError(f"HOPSWORKS_PROJECT: {access}: this process is connected to {_open[0].access}")
            _open[0].users += 1
        else:
            _open.append(_Connection(access))
        return _open[0].features


def release() -> None:
    """Gives a feature store back; the last to do so closes the connection and deletes its certificates."""
    with _lock:
        if _open:
            _open[0].users -= 1
            if _open[0].users == 0:
                _open.pop().close()


def errors(access: HopsworksAccess, operation: str) -> AbstractContextManager[None]:
    """Tells whatever the client raises as a `StoreError` with a remedy; no message of its holds the key."""
    return told(operation, access, access.api_key, _REMEDIES)


def _client() -> Any:
    os.environ.setdefault("TQDM_DISABLE", "1")  # its bars would fill the log
    try:
        import hopsworks  # noqa: PLC0415 - 180 MB that only those who use it load
    except ImportError:
        raise SettingsError(f"FEATURE_STORE: hopsworks needs its client library; install {EXTRA}") from None
    for name in ("hopsworks_common", "hsfs"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("hsfs.core.arrow_flight_client").setLevel(logging.CRITICAL)  # it raises what it logs
    # A write that didn't reach the online store in time is only warned of
    warnings.filterwarnings("error", message="Timeout of .* was exceeded while waiting for online ingestion")
    return hopsworks


def _limit_waiting() -> None:
    """Gives every request of the client a time limit: it has none, and a half-open connection would hold it for ever."""
    from hopsworks_common import client  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    class Limited(HTTPAdapter):
        def send(self, request: Any, *args: Any, **given: Any) -> Any:
            given["timeout"] = given.get("timeout") or _REQUEST_SECONDS
            return super().send(request, *args, **given)

    client._get_instance()._session.mount("https://", Limited())
