"""Apache Kafka itself: one node that is broker and controller, from Maven Central's jars."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from pricecast_testbed import jvm
from pricecast_testbed.kubernetes import pki
from pricecast_testbed.server import Server
from pricecast_testbed.shell import run

VERSION = "4.4.0"
_JVM = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
_CLUSTER_ID = "cHJpY2VjYXN0LXRlc3RiZQ"  # any 16 bytes, base64


class Kafka(Server):
    """A Kafka node; `url` is its bootstrap address."""

    name = "kafka"
    url_variable = "KAFKA_BROKERS_TEST"

    @property
    def url(self) -> str:
        """`host:port` on loopback."""
        return f"127.0.0.1:{self.port('kafka')}"

    @property
    def node_url(self) -> str:
        """`host:port` on the node's address, with metadata that leads there as well."""
        return f"{self.node_address}:{self.port('kafka-node')}"

    def install(self) -> None:
        """Fetches the jars."""
        self._jars = jvm.jars("kafka", VERSION)
        self._java = jvm.java()

    def configure(self) -> None:
        """Writes `server.properties`: one of everything, and no waiting for members that don't exist."""
        properties = self.properties()
        path = self.home / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        if not (self.data / "meta.properties").exists():
            run([*self._run("kafka.tools.StorageTool"), "format", "--standalone", "-t", _CLUSTER_ID, "-c", path])

    def properties(self) -> dict[str, str]:
        """Returns the broker's configuration."""
        listeners = {"PLAINTEXT": self.url}
        if self.node_address is not None:
            listeners["NODE"] = self.node_url
        advertised = ",".join(f"{name}://{address}" for name, address in listeners.items())
        controller = f"127.0.0.1:{self.port('controller')}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"{advertised},CONTROLLER://{controller}",
            "advertised.listeners": advertised,
            "controller.quorum.bootstrap.servers": controller,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in [*listeners, "CONTROLLER"]),
            "log.dirs": str(self.data),
            "num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.min.isr": "1",
        }
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            properties |= {f"{topic}.replication.factor": "1", f"{topic}.num.partitions": "1"}
        return properties

    def command(self) -> list[str | Path]:
        """Returns the command line of the broker."""
        return [*self._run("kafka.Kafka"), self.home / "server.properties"]

    def ready(self) -> bool:
        """Asks for the versions of its API, as every client does first."""
        body = struct.pack(">hhih", 18, 0, 1, -1)  # ApiVersions v0, correlation 1, no client id
        try:
            with socket.create_connection(("127.0.0.1", self.port("kafka")), timeout=2) as connection:
                connection.settimeout(5)
                connection.sendall(struct.pack(">i", len(body)) + body)
                answer = connection.recv(10)
        except OSError:
            return False
        return len(answer) == 10 and answer[4:10] == b"\0\0\0\1\0\0"

    def _run(self, main_class: str) -> list[str | Path]:
        return [self._java, *_JVM, "-cp", f"{self._jars}/*", main_class]


class SecuredKafka(Kafka):
    """A Kafka that lets nobody in unasked: SASL_SSL, TLS with client certificates, and ACLs.

    `url` is a plain listener for whoever administrates it: there everything is allowed.
    """

    name = "kafka-secured"
    url_variable = "KAFKA_BROKERS_SECURED_TEST"

    @property
    def sasl_url(self) -> str:
        """`host:port` where clients say who they are by SASL, over TLS."""
        return f"127.0.0.1:{self.port('kafka-sasl')}"

    @property
    def mutual_url(self) -> str:
        """`host:port` where clients say who they are by a certificate; its common name is the user."""
        return f"127.0.0.1:{self.port('kafka-mutual')}"

    @property
    def pki(self) -> Path:
        """Folder of the authority (`ca.crt`) and of what it signed."""
        return self.home / "pki"

    def properties(self) -> dict[str, str]:
        """Returns the broker's configuration; makes its certificate."""
        if not self.pki.exists():
            pki.authority(self.pki)
            pki.sign(self.pki, "broker", "/CN=broker", ["IP:127.0.0.1"])
            (self.pki / "broker.pem").write_text(
                (self.pki / "broker.key").read_text() + (self.pki / "broker.crt").read_text()
            )
        found = super().properties()
        listeners = {"SASL": ("SASL_SSL", self.sasl_url), "MUTUAL": ("SSL", self.mutual_url)}
        for name, (_, address) in listeners.items():
            found["listeners"] += f",{name}://{address}"
            found["advertised.listeners"] += f",{name}://{address}"
        protocols = ",".join(f"{name}:{protocol}" for name, (protocol, _) in listeners.items())
        found["listener.security.protocol.map"] += f",{protocols}"
        module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            found[f"listener.name.sasl.{mechanism}.sasl.jaas.config"] = module
        return found | {
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.pki / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.pki / "ca.crt"),
            "listener.name.mutual.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+)$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
