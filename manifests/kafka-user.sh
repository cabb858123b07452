#!/usr/bin/env bash
# Makes the Kafka user of a pipeline on the Redpanda that `make cluster-up` installs: its password, its rights to what
# begins with NAMESPACE.NAME and to nothing else, and the Secret NAME-kafka that spec.storage.kafka.secretName names.
# Run again it sets a new password; the pipeline's pods follow.
#   manifests/kafka-user.sh NAMESPACE NAME
set -euo pipefail
namespace=$1 pipeline=$2
user="$namespace.$pipeline"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
head -c 32 /dev/urandom | base64 | tr -d '+/=\n' >"$folder/password"

# Standard input, not arguments, carries the password to the broker's pod.
kubectl -n redpanda exec -i redpanda-0 -c redpanda -- bash -c '
    read -r password || [ -n "$password" ]
    rpk security user create "$0" --mechanism SCRAM-SHA-512 --new-password "$password" ||
        rpk security user update "$0" --mechanism SCRAM-SHA-512 --new-password "$password"
    rpk security acl create --allow-principal "User:$0" --operation all --resource-pattern-type prefixed \
        --topic "$0." --topic "changelog__$0." --group "$0." --transactional-id "$0."' "$user" \
    <"$folder/password" >/dev/null

kubectl -n redpanda get secret redpanda-tls -o jsonpath='{.data.ca\.crt}' | base64 -d >"$folder/ca.crt"
printf %s "$user" >"$folder/username"
kubectl -n "$namespace" create secret generic "$pipeline-kafka" --dry-run=client -o yaml \
    --from-file=username="$folder/username" --from-file=password="$folder/password" \
    --from-file=ca.crt="$folder/ca.crt" | kubectl apply -f -
