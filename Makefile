# The commands of the project. A machine needs Python 3.11 to 3.13, make and a network; uv is fetched where there is none.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

TOOLS := .tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := $(UV) run --no-sync
PYTEST := $(RUN) pytest
PIPELINE ?= manifests/pipeline-demo.yaml
UNIT ?= tests/unit

# tulipy comes as C source alone. Where there is no compiler, zig's does it: it is a Python package too.
ifeq ($(shell command -v cc gcc clang 2>/dev/null),)
export CC := $(CURDIR)/$(TOOLS)/zig-cc
COMPILER := $(TOOLS)/zig-cc
endif

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## (.*)/\1\t\2/' | expand -t 18

# --- running

.PHONY: install demo up down
install: $(UV) $(COMPILER) ## Installs every service and the `pricecast` command into .venv
	$(UV) sync --frozen --inexact --all-packages --no-dev

demo: install ## Runs the demo: a simulated market, all services, a live view; Ctrl-C stops it
	.venv/bin/pricecast up $(PIPELINE)

up: install ## Runs PIPELINE=manifests/... in the background
	.venv/bin/pricecast up --detach $(PIPELINE)

down: ## Stops what `make up` started
	.venv/bin/pricecast down

# --- testing

.PHONY: test lint types test-unit test-integration test-wheels test-pythons test-servers test-page test-e2e test-finetune-e2e bench
test: lint types test-unit test-integration test-wheels ## Lint, types, unit, property and integration tests

lint: dev
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) lint-imports
	$(RUN) python docs/generate.py --check
	$(RUN) python -m pricecast_operator.generate --check
	$(RUN) python docs/links.py

types: dev
	$(RUN) mypy --python-version $$($(RUN) python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

test-unit: dev ## Unit and property tests
	$(PYTEST) --numprocesses=2 $(UNIT)

test-integration: dev ## Real processes on the embedded broker and stores
	$(PYTEST) --numprocesses=2 tests/integration

test-wheels: dev ## The packages built, installed into an environment of their own, used outside the repository
	$(PYTEST) tests/wheels

test-pythons: dev ## Lint, types and unit tests on the other Pythons of 3.11 to 3.13 that are here
	UV=$(UV) .ci/test-pythons

test-servers: dev ## Tests on real Kafka, Elasticsearch, PostgreSQL (by URL, else started by testbed/)
	$(PYTEST) --numprocesses=2 --dist=loadfile tests/servers

test-page: dev ## The web page in Chromium: desktop, phone, dark, offline, 500 pairs, accessibility
	$(PYTEST) --numprocesses=2 tests/page

test-e2e: dev ## Tests on a real cluster (KUBECONFIG, else started by testbed/)
	$(PYTEST) tests/e2e tests/chaos

test-finetune-e2e: dev ## Real fine-tuning on a real cluster; apart, for its image: some 30 GB of disk while it is built
	$(PYTEST) -s tests/e2e_finetune

bench: dev ## Benchmarks, one table
	$(RUN) python -m benchmarks

# --- a cluster

.PHONY: cluster-up cluster-down
cluster-up: ## A whole cluster on kind (Docker, kind, kubectl, helm): every server, the operator, the prediction API
	manifests/cluster-up.sh

cluster-down: ## Deletes that cluster with all it stored
	kind delete cluster --name pricecast

# --- generated files

.PHONY: protos page docs crds
protos: dev ## Python code and the HTTP rules from protos/
	$(RUN) python protos/generate.py

page: dev ## The web page's bundle, from services/prediction-api/page
	$(RUN) python -m pricecast_testbed page services/prediction-api/page

docs: dev ## The reference of settings, messages, metrics and resources
	$(RUN) python docs/generate.py

crds: dev ## The chart's version, resource definitions, dashboards and alerts, from pyproject.toml, the models and metrics
	$(RUN) python -m pricecast_operator.generate

# --- tools

.PHONY: dev
dev: $(UV) $(COMPILER)
	@$(UV) sync --frozen --all-packages --quiet

# Some distributions ship Python without venv: then pip alone does.
$(TOOLS)/bin/uv:
	python3 -m venv $(TOOLS) 2>/dev/null || { rm -rf $(TOOLS); echo "no venv here: using pip --target"; }
	if [ -x $(TOOLS)/bin/python ]; then $(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'; \
	else python3 -m pip install --quiet --disable-pip-version-check --target $(TOOLS) 'uv>=0.9'; fi
	@$(TOOLS)/bin/uv --version

$(TOOLS)/zig-cc: $(UV)
	$(UV) venv --quiet --clear $(TOOLS)/zig
	$(UV) pip install --quiet --python $(TOOLS)/zig 'ziglang>=0.13'
	printf '#!/bin/sh\nexec "%s" -m ziglang cc "$$@"\n' '$(CURDIR)/$(TOOLS)/zig/bin/python' > $@
	chmod +x $@

.PHONY: clean
clean: ## Removes what was built, and the pipelines' data
	rm -rf .pricecast .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
