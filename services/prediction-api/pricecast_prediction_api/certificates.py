"""The server's certificate over gRPC and HTTP; a renewed one is used without a restart."""

from __future__ import annotations

import asyncio
import ssl

import grpc

from pricecast_core import logs
from pricecast_core.settings import PredictionApiSettings
from pricecast_prediction_api.http_server import tls_problem

_LOOK_SECONDS = 2.0
"""Between two looks at the files: a Secret's volume tells nobody that it has changed."""

log = logs.get(__name__)


class Certificates:
    """A certificate, its key, and the authorities of clients' certificates.

    Args:
        settings: Where they are.

    Raises:
        SettingsError: If they can't be read.
    """

    def __init__(self, settings: PredictionApiSettings) -> None:
        assert settings.tls_certificate is not None
        assert settings.tls_key is not None
        self._certificate, self._key = settings.tls_certificate, settings.tls_key
        self._client_ca = settings.tls_client_ca
        try:
            self._used = self._read()
        except OSError as error:
            raise tls_problem(error) from error

    def credentials(self) -> grpc.ServerCredentials:
        """Returns what gRPC serves with; it asks for the newest certificate at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._configuration, require_client_authentication=self._client_ca is not None
        )

    async def watch(self, context: ssl.SSLContext) -> None:
        """Gives a renewed certificate to the HTTP server's context, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look(context)

    def look(self, context: ssl.SSLContext) -> None:
        """Reads the files again; a pair that doesn't fit, as half-way through a renewal, leaves the old one in use."""
        try:
            found = self._read()
            if found == self._used:
                return
            context.load_cert_chain(self._certificate, self._key)
        except OSError as error:
            log.error("the certificate can't be read again", error=str(error))
            return
        self._used = found
        log.info("certificate renewed", file=str(self._certificate))

    def _read(self) -> tuple[bytes, bytes, bytes | None]:
        authorities = self._client_ca.read_bytes() if self._client_ca is not None else None
        return self._key.read_bytes(), self._certificate.read_bytes(), authorities

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        key, certificate, authorities = self._used
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)
