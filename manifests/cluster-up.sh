#!/usr/bin/env bash
# Brings up a whole cluster on kind: our images, Kafka, Elasticsearch, PostgreSQL, Ollama, Prometheus, the chart.
# `make cluster-up` calls it. What needs kind alone is skipped with KUBECONFIG_GIVEN=1: the current context is used.
set -euo pipefail
cd "$(dirname "$0")/.."

. manifests/versions.env
CLUSTER=pricecast
TAG=${TAG:-$(git rev-parse --short HEAD 2>/dev/null || echo dev)}
SERVICES="operator trades candles technical-indicators to-feature-store price-predictor news news-signal prediction-api"

need() { command -v "$1" >/dev/null || { echo "$1 is not installed: $2" >&2; exit 1; }; }
need docker "https://docs.docker.com/engine/install"
need kubectl "https://kubernetes.io/docs/tasks/tools"
need helm "https://helm.sh/docs/intro/install"

if [ -z "${KUBECONFIG_GIVEN:-}" ]; then
    need kind "https://kind.sigs.k8s.io/docs/user/quick-start"
    kind get clusters 2>/dev/null | grep -qx "$CLUSTER" || kind create cluster --config kind-config.yaml --wait 120s
    kubectl config use-context "kind-$CLUSTER" >/dev/null
    for service in $SERVICES; do
        docker build --quiet --build-arg SERVICE="$service" --tag "pricecast/$service:$TAG" .
        kind load docker-image --name "$CLUSTER" "pricecast/$service:$TAG"
    done
fi

release() { # name namespace repository chart version [helm options]
    local name=$1 namespace=$2 repository=$3 chart=$4 version=$5
    shift 5
    helm upgrade --install "$name" "$chart" --repo "$repository" --version "$version" \
        --namespace "$namespace" --create-namespace --values "manifests/releases/$name.yaml" "$@"
}
release kube-prometheus-stack monitoring https://prometheus-community.github.io/helm-charts kube-prometheus-stack "$PROMETHEUS_VERSION"
# Redpanda's certificate and its superuser, made once: a second run finds them.
kubectl create namespace redpanda --dry-run=client -o yaml | kubectl apply -f -
if ! kubectl -n redpanda get secret redpanda-tls >/dev/null 2>&1; then
    folder=$(mktemp -d)
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=redpanda-ca -keyout "$folder/ca.key" -out "$folder/ca.crt" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=redpanda -keyout "$folder/tls.key" -out "$folder/tls.csr" 2>/dev/null
    names=DNS:localhost,DNS:redpanda.redpanda.svc,DNS:redpanda.redpanda.svc.cluster.local
    names=$names,DNS:*.redpanda.redpanda.svc,DNS:*.redpanda.redpanda.svc.cluster.local
    openssl x509 -req -days 3650 -in "$folder/tls.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial \
        -extfile <(echo "subjectAltName=$names") -out "$folder/tls.crt" 2>/dev/null
    kubectl -n redpanda create secret generic redpanda-tls --from-file="$folder/ca.crt" --from-file="$folder/tls.crt" --from-file="$folder/tls.key"
    echo "admin:$(head -c 32 /dev/urandom | base64 | tr -d '+/=\n'):SCRAM-SHA-512" >"$folder/users.txt"
    kubectl -n redpanda create secret generic redpanda-superusers --from-file="$folder/users.txt"
    rm -rf "$folder"
fi
release redpanda redpanda https://charts.redpanda.com redpanda "$REDPANDA_VERSION"
release elasticsearch elasticsearch https://helm.elastic.co elasticsearch "$ELASTICSEARCH_VERSION"
release ollama ollama https://helm.otwld.com ollama "$OLLAMA_VERSION"

kubectl create namespace postgresql --dry-run=client -o yaml | kubectl apply -f -
kubectl -n postgresql get secret postgresql >/dev/null 2>&1 ||
    kubectl -n postgresql create secret generic postgresql --from-literal=password="$(head -c 18 /dev/urandom | base64 | tr -d '+/=')"
kubectl -n postgresql apply -f manifests/releases/postgresql.yaml
password=$(kubectl -n postgresql get secret postgresql -o jsonpath='{.data.password}' | base64 -d)
sql_url=postgresql://pricecast:$password@postgresql.postgresql.svc:5432/pricecast
kubectl create secret generic pricecast-storage --dry-run=client -o yaml \
    --from-literal=sql-url="$sql_url" | kubectl apply -f -

kubectl -n redpanda rollout status statefulset/redpanda --timeout=300s
kubectl -n default get secret btc-kafka >/dev/null 2>&1 || manifests/kafka-user.sh default btc
kubectl -n elasticsearch rollout status statefulset/elasticsearch-master --timeout=300s
kubectl -n postgresql rollout status statefulset/postgresql --timeout=300s

kubectl create namespace pricecast-system --dry-run=client -o yaml | kubectl apply -f -
kubectl label namespace pricecast-system default pod-security.kubernetes.io/enforce=restricted --overwrite
kubectl -n pricecast-system create secret generic pricecast-storage --dry-run=client -o yaml \
    --from-literal=sql-url="$sql_url" | kubectl apply -f -
helm upgrade --install pricecast charts/pricecast --namespace pricecast-system --take-ownership --wait --timeout 300s \
    --set monitoring.enabled=true \
    --set predictionApi.featureStoreUrlSecretRef.name=pricecast-storage,predictionApi.featureStoreUrlSecretRef.key=sql-url \
    --set predictionApi.modelRegistryUrlSecretRef.name=pricecast-storage,predictionApi.modelRegistryUrlSecretRef.key=sql-url \
    $([ -n "${KUBECONFIG_GIVEN:-}" ] || echo "--set image.tag=$TAG")
echo "Ready. Now: kubectl apply -f manifests/pipeline-btc.yaml && kubectl get pricepipelines --watch"
