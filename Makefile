# Everything a developer runs. `make` lists it.
include tests/cluster/versions.env

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cairn
# uv is made there by `make requirements` if the machine has none.
export PATH := $(PATH):$(CACHE)/tools/uv-$(UV_VERSION)
# `CLUSTER=current` uses the cluster that KUBECONFIG names; anything else, this checkout's own.
export CLUSTER

RUN := uv run --locked
IN_CLUSTER := tests/cluster/with.sh
PYTEST := $(RUN) pytest $(PYTEST_ARGS)
# The SDK of Kubeflow Pipelines and the operator exclude each other.
WITH_KFP := UV_PROJECT_ENVIRONMENT=.venv-kfp uv run --locked --only-group kfp
BUT_FULL := and not full

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' Makefile

.PHONY: requirements
requirements: ## Check what this machine must have; install uv if it is missing
	@tests/cluster/requirements.sh

## ---- look

.PHONY: demo
demo: install ## Show what Cairn does, on a cluster of this checkout
	$(IN_CLUSTER) bash manifests/demo/run.sh

## ---- the code

.PHONY: lint
lint: requirements ## Check style, the direction of imports, and YAML
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) lint-imports
	$(RUN) yamllint --strict .yamllint.yaml charts/*/Chart.yaml charts/*/values.yaml manifests

.PHONY: types
types: requirements ## Check types
	$(RUN) --group bench --group docs pyright

.PHONY: generate
generate: requirements ## Rewrite what is generated: CRDs, the chart's copies of them, the API reference
	$(RUN) python -m cairn.generate
	$(RUN) python charts/generate.py

.PHONY: docs
docs: requirements ## Build the documentation site into build/docs
	NO_MKDOCS_2_WARNING=1 $(RUN) --group docs mkdocs build --strict

.PHONY: contract
contract: requirements ## Record what the API promises, at a release or where a break is meant (docs/api-compatibility.md)
	$(RUN) python -m tests.unit.api.contract

.PHONY: check
check: requirements ## Fail if something generated is out of date
	$(RUN) python -m cairn.generate --check
	$(RUN) python charts/generate.py --check

## ---- tests

.PHONY: test
test: lint types check docs test-unit test-simulation test-kfp test-kstatus test-crd test-e2e ## Run every check and every test but the long ones

.PHONY: test-full
test-full: BUT_FULL :=
test-full: export ALL_IMAGES := yes
test-full: test test-argocd ## The same, with the long fault and matrix tests, and those with Argo CD

.PHONY: test-unit
test-unit: requirements ## Test without a cluster
	$(RUN) --group bench pytest $(PYTEST_ARGS) tests/unit --numprocesses 2

.PHONY: test-simulation
test-simulation: requirements ## Simulate the engine of runs from 2,000 seeds
	$(PYTEST) tests/simulation --numprocesses 2

.PHONY: test-kfp
test-kfp: requirements ## Test against Kubeflow Pipelines' SDK, and a backend that answers as it does
	$(PYTEST) tests/kfp --numprocesses 2
	$(WITH_KFP) pytest $(PYTEST_ARGS) tests/kfp/test_sdk.py

.PHONY: test-kstatus
test-kstatus: requirements ## Test what kstatus, and so Flux and Helm 4, make of each state; needs Go
	$(PYTEST) tests/kstatus

.PHONY: test-crd
test-crd: install ## Test the CRDs against an API server
	$(IN_CLUSTER) $(PYTEST) tests/crd --numprocesses 2

.PHONY: test-e2e
test-e2e: install ## Test the operator in a cluster
	$(IN_CLUSTER) $(PYTEST) tests/e2e --numprocesses 3 --dist loadfile -m "not alone $(BUT_FULL)"
	$(IN_CLUSTER) $(PYTEST) tests/e2e -m "alone $(BUT_FULL)"

.PHONY: test-argocd
test-argocd: requirements ## Test with a real Argo CD, on a new cluster of its own; some 50 minutes
	$(MAKE) cluster-down images CLUSTER_VARIANT=argocd CLUSTER=
	CLUSTER_VARIANT=argocd CLUSTER= $(IN_CLUSTER) $(PYTEST) tests/argocd

.PHONY: bench
bench: requirements ## Measure what Cairn costs, on clusters made for it; BENCH_ARGS=--help
	$(RUN) --group bench python -m tests.bench $(BENCH_ARGS)

## ---- a release

.PHONY: package
package: requirements ## Write to dist/ what a release consists of: charts, install.yaml, contents of images, provenance
	@REGISTRY= tests/cluster/package.sh

.PHONY: publish
publish: requirements ## The same, with the images and charts pushed to REGISTRY=…
	@REGISTRY=$(or $(REGISTRY),$(error REGISTRY=… says where to)) tests/cluster/package.sh

## ---- the cluster

.PHONY: cluster
cluster: requirements ## Start a kind cluster of this checkout (CLUSTER=current: use the one KUBECONFIG names)
	@tests/cluster/up.sh

.PHONY: cluster-down
cluster-down: ## Delete this checkout's cluster and all it left on the machine but the caches
	@tests/cluster/down.sh

.PHONY: images
images: cluster ## Build the images that changed and give them to the cluster (ALL_IMAGES=yes: those of `make test-full`, too)
	@$(IN_CLUSTER) tests/cluster/images.sh

.PHONY: install
install: images ## Install or upgrade the operator from this checkout
	$(IN_CLUSTER) tests/cluster/install.sh

.PHONY: uninstall
uninstall: ## Remove the operator
	$(IN_CLUSTER) helm uninstall cairn --namespace cairn-system --ignore-not-found --wait
	$(IN_CLUSTER) kubectl delete namespace cairn-system --ignore-not-found

## ---- leftovers

.PHONY: clean
clean: ## Remove this checkout's build outputs and tool caches
	rm -rf .venv .venv-kfp dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find operator tests manifests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean-cache
clean-cache: ## Remove what all checkouts share in the user's cache: tools, images, Docker's data
	@tests/cluster/clean-cache.sh
