# One Dockerfile for every image: docker build --build-arg SERVICE=trades -t pricecast/trades .
# SERVICE is a folder below services/, or `operator`. BASE_IMAGE is any Debian or Ubuntu with Python 3.11 to 3.13.
# EXTRAS adds extras of the member: SERVICE=finetune takes EXTRAS=gpu where there is a GPU.
# An image carries its member's own dependencies from the lock, runs as a stranger on a read-only root, and holds
# no compiler: what must be compiled (tulipy) is compiled in a stage that stays behind.
ARG BASE_IMAGE=python:3.12-slim-bookworm

# --- The tools to build with: the same for all images.
FROM ${BASE_IMAGE} AS tools
RUN packages="gcc libc6-dev"; \
    command -v pip >/dev/null || packages="$packages python3-pip python3-dev"; \
    apt-get update -q && apt-get install -yq --no-install-recommends $packages && rm -rf /var/lib/apt/lists/* \
    && PIP_BREAK_SYSTEM_PACKAGES=1 pip install -q --no-cache-dir "uv>=0.9,<1"
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/app/.venv
WORKDIR /src

# --- Only what the lock is about, so that a changed line of code does not fetch dependencies again; and only the
# service's own code beside the core, so that a changed line elsewhere changes nothing here.
FROM ${BASE_IMAGE} AS sources
COPY . /all
ARG SERVICE
RUN cd /all && mkdir /manifests /sources && cp --parents uv.lock $(find . -name pyproject.toml) /manifests/ \
    && folder="services/$SERVICE" && if [ "$SERVICE" = operator ]; then folder="operator resources"; fi \
    && cp -r --parents services/core $folder /sources/

# --- The service and its dependencies.
FROM tools AS build
ARG SERVICE
ARG EXTRAS=""
COPY --from=sources /manifests /src
# NCCL, 240 to 350 MB, is what XGBoost loads to train on several GPUs; only fine-tuning has any.
RUN --mount=type=cache,target=/root/.cache/uv \
    without="--no-install-package nvidia-nccl-cu12 --no-install-package nvidia-nccl-cu13"; \
    case "$SERVICE" in \
        trades) more="--extra kraken-v1 $without" ;; \
        prediction-api) more="--extra mcp $without" ;; \
        finetune) more="--extra train --extra comet" ;; \
        news-signal) more="--extra encoder $without" ;; \
        to-feature-store) more="--extra hopsworks $without" ;; \
        price-predictor) more="--extra comet --extra hopsworks $without" ;; \
        *) more="$without" ;; \
    esac; \
    for extra in $EXTRAS; do more="$more --extra $extra"; done; \
    echo "--frozen --no-dev --package pricecast-$SERVICE $more" > /sync \
    && uv sync $(cat /sync) --no-install-workspace
COPY --from=sources /sources /src
RUN --mount=type=cache,target=/root/.cache/uv uv sync $(cat /sync) --no-editable \
    && ln -s "/app/.venv/bin/pricecast-$SERVICE" /app/service && /app/.venv/bin/python -c "import pricecast_core"

# --- The image.
FROM ${BASE_IMAGE}
ARG SERVICE
LABEL org.opencontainers.image.title="pricecast-${SERVICE}" org.opencontainers.image.licenses="Apache-2.0"
# bsdtar unpacks the RAR archives that news come in.
RUN if [ "$SERVICE" = news ]; then \
    apt-get update -q && apt-get install -yq --no-install-recommends libarchive-tools && rm -rf /var/lib/apt/lists/*; fi
COPY --from=build /app /app
COPY LICENSE /app/LICENSE
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HTTP_HOST=0.0.0.0
USER 65532:65532
WORKDIR /var/lib/pricecast
EXPOSE 8080
ENTRYPOINT ["/app/service"]
