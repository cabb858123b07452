"""The certificates of a cluster: one authority, and what it signs for the API server, the kubelet and the administrator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pricecast_testbed.shell import run

_DAYS = "3650"
_KEY = ["-newkey", "rsa:2048", "-nodes"]


def create(folder: Path, node_address: str, service_address: str, node_name: str) -> None:
    """Makes the certificates and keys that are not there yet.

    Args:
        folder: Where they go.
        node_address: Address of the API server and of the kubelet.
        service_address: Address of the API server as pods see it.
        node_name: Name of the node.
    """
    if (folder / "complete").exists():
        return
    authority(folder)
    run(["openssl", "genrsa", "-out", folder / "sa.key", "2048"])
    run(["openssl", "rsa", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub"])
    service = [f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc")]
    sign(folder, "apiserver", "/CN=kube-apiserver", [f"IP:{node_address}", f"IP:{service_address}", *service])
    sign(folder, "kubelet", f"/O=system:nodes/CN=system:node:{node_name}", [f"IP:{node_address}", f"DNS:{node_name}"])
    sign(folder, "admin", "/O=system:masters/CN=admin", [])
    (folder / "complete").touch()


def authority(folder: Path) -> None:
    """Makes an authority: `ca.crt` and `ca.key`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    run(["openssl", "req", "-x509", *_KEY, "-days", _DAYS, "-subj", "/CN=testbed", *_out(folder, "ca")])


def kubeconfig(folder: Path, who: str, server: str) -> str:
    """Returns a kubeconfig by which `who`, one of the certificates, reaches `server`."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "testbed", "cluster": {"server": server, "certificate-authority": f"{folder}/ca.crt"}}
            ],
            "users": [
                {
                    "name": who,
                    "user": {"client-certificate": f"{folder}/{who}.crt", "client-key": f"{folder}/{who}.key"},
                }
            ],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": who}}],
            "current-context": "testbed",
        },
        indent=1,
    )


def _out(folder: Path, name: str) -> list[str | Path]:
    return ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]


def sign(folder: Path, name: str, subject: str, names: Sequence[str]) -> None:
    """Makes a certificate that the folder's authority signs: `name.crt` and `name.key`."""
    extensions = ["keyUsage=digitalSignature,keyEncipherment", "extendedKeyUsage=serverAuth,clientAuth"]
    if names:
        extensions.append(f"subjectAltName={','.join(names)}")
    request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
    extra.write_text("\n".join(extensions))
    run(["openssl", "req", *_KEY, "-subj", subject, "-keyout", folder / f"{name}.key", "-out", request])
    signer: list[str | Path] = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial"]
    signing: list[str | Path] = ["-in", request, "-out", folder / f"{name}.crt", "-extfile", extra]
    run(["openssl", "x509", "-req", "-days", _DAYS, *signer, *signing])
