# Every target works from a fresh clone: it needs Python 3.11+ with venv and, for the control plane, Go 1.26+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv tools check test e2e chaos demo bench bench-memory clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## .venv with the project (editable) and everything its tests need

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Sitelog needs Python 3.11 or newer; $(PYTHON) is older or missing. Try: make PYTHON=python3.11 venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "==> Installing the project and its tools into $(VENV) (about a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[upload,dev]'
	@touch $@

tools: $(READY) ## etcd, kube-apiserver, kube-controller-manager, kubectl, helm (built once, about 8 minutes on 2 cores)
	@$(BIN)/python tests/support/control_plane/binaries.py

check: $(READY) ## style, types and the arrows between the rooms
	@echo "==> ruff check"
	@$(BIN)/ruff check
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check
	@echo "==> mypy"
	@$(BIN)/mypy
	@echo "==> lint-imports"
	@$(BIN)/lint-imports

test: tools ## all tests but e2e, on a real control plane and a real FL server
	@echo "==> pytest: three processes, each with its own control plane and FL server, since FL jobs wait a lot"
	@$(BIN)/pytest --ignore=tests/e2e --numprocesses=3 --dist=loadfile --no-loadscope-reorder

# In the environment: KIND_NODE_IMAGE, PYTHON_BASE_IMAGE, DOCKER_BUILD_FLAGS (each empty: what kind, the Dockerfile and
# docker take by themselves); KUBECONFIG: a cluster that exists, and has the images; E2E_KEEP=1: keep the cluster.
e2e: $(READY) ## tests on real nodes: kind, NVFlare's charts, real job pods (needs docker, kind, kubectl)
	@echo "==> pytest tests/e2e"
	@$(BIN)/pytest tests/e2e --verbose --capture=no

chaos: $(READY) ## the same cluster: 200 job pods end while everything is being killed; prints the account of them
	@CHAOS_ENDS=$${CHAOS_ENDS:-200} $(BIN)/pytest tests/e2e/test_chaos.py --verbose --capture=no

demo: tools ## the whole story on this machine, step by step
	@$(BIN)/python tests/demo/demo.py

bench: tools ## the promises about time, measured (about two minutes)
	@$(BIN)/python tests/bench/bench.py

bench-memory: tools ## the promises about memory: 1,000 job pods followed, 100,000 reviews (half an hour on 2 busy cores)
	@$(BIN)/python tests/bench/memory.py

clean: ## remove .venv and what the tools left in this folder (the built programs stay in the user's cache)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find operator tests -name __pycache__ -type d -prune -exec rm -rf {} +
