"""The scripts that make a cluster ready: what they tell kubectl, with a stand-in that writes down what it is told."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from pathlib import Path

import yaml

from pricecast_resources.base import OptionalKey
from pricecast_resources.manifest import load_manifest

MANIFESTS = Path(__file__).parents[3] / "manifests"
KUBECTL = """#!/usr/bin/env bash
echo "$@" >>"$TOLD/arguments"
case "$*" in
    *exec*) cat >"$TOLD/to-the-broker" ;;
    *"get secret redpanda-tls"*) echo Q0VSVA== ;;
    *"create secret"*) for each; do case $each in --from-file=*) file=${each#--from-file=}; cp "${file#*=}" "$TOLD/${file%%=*}" ;; esac; done ;;
    *apply*) cat >/dev/null ;;
esac
"""


def test_a_kafka_user_gets_the_secret_that_its_manifest_names_and_no_argument_holds_the_password(
    tmp_path: Path,
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TOLD": str(tmp_path)}
    subprocess.run([MANIFESTS / "kafka-user.sh", "default", "btc"], env=env, check=True, timeout=60)
    arguments, password = (tmp_path / "arguments").read_text(), (tmp_path / "password").read_text()
    assert len(password) > 30
    assert (tmp_path / "to-the-broker").read_text() == password
    assert password not in arguments
    assert (tmp_path / "username").read_text() == "default.btc"
    assert (tmp_path / "ca.crt").read_text() == "CERT"
    kafka = load_manifest(MANIFESTS / "pipeline-btc.yaml").spec.storage.kafka
    assert f"create secret generic {kafka.secret_name} " in arguments
    assert all((tmp_path / ref.key).exists() for ref in kafka.secrets.values() if not isinstance(ref, OptionalKey))
    for prefix in ("--topic default.btc.", "--topic changelog__", "--group", "--transactional-id"):
        assert prefix in arguments.replace("$0", "default.btc").replace('"', "")


def test_each_version_is_in_one_file_with_where_it_comes_from() -> None:
    lines = (MANIFESTS / "versions.env").read_text().splitlines()
    versions = {line.partition("=")[0]: before for before, line in itertools.pairwise(lines) if "=${" in line}
    used = set(re.findall(r"\$(\w+_VERSION)|\"\$(\w+_VERSION)\"", (MANIFESTS / "cluster-up.sh").read_text()))
    assert {first or second for first, second in used} == set(versions)
    assert all(source.startswith("# renovate: datasource=") for source in versions.values())


def test_what_clients_in_the_cluster_are_told_of_redpanda_is_what_its_release_serves() -> None:
    values = yaml.safe_load((MANIFESTS / "releases" / "redpanda.yaml").read_text())
    kafka = load_manifest(MANIFESTS / "pipeline-btc.yaml").spec.storage.kafka
    assert kafka.protocol == ("SASL_SSL" if values["tls"]["enabled"] and values["auth"]["sasl"]["enabled"] else "")
    assert kafka.mechanism == values["auth"]["sasl"]["mechanism"]
    assert not values["clusterDomain"].endswith(".")
