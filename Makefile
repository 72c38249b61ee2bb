# Everything a person or a machine types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What the set-up unpacks (prometheus, kubectl, helm) comes last: what the machine has of its own is preferred.
export PATH := $(PATH):$(CURDIR)/.sandbox/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format crds bench clean tools

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## virtual environment with everything pinned, in .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "canary needs Python 3.11 or newer; name one with make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## a good release and a bad one on real traffic, no cluster needed (one minute)
	@sh scripts/prometheus.sh
	@$(BIN)/canary demo

tools: $(READY)
	@sh scripts/prometheus.sh
	@$(BIN)/python scripts/tools.py

test: tools ## all tests, the ones with real Envoy, Traefik, Prometheus and kubectl included
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## ruff, mypy strict, import contracts
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check --quiet . || { echo "make format would change files" >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## let ruff write the code as it likes it
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

crds: $(READY) ## print crds/ and crds/schema/ from the models
	@$(BIN)/python -m canary.model.crd crds

bench: $(READY) ## what the controller costs, as JSON (SIZES="1000:100 10000:1000", ARGS="--table"; docs/performance.md)
	@$(BIN)/python -m canary.sandbox.bench $(SIZES) $(ARGS)

clean: ## remove what the set-up made
	rm -rf $(VENV) .sandbox .mypy_cache .pytest_cache .ruff_cache .hypothesis
