# Two commands are enough: `make up` and `make test`. Everything they need goes into .venv, from the hash-pinned locks.

.DEFAULT_GOAL := help
.PHONY: help up test test-fault mutants chaos bench bench-peers lint lock clean set-up-local set-up-dev
MAKEFLAGS += --no-print-directory

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input --quiet --quiet

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: set-up-local ## start everything on this machine: servers, migrations, first refresh, processes (Ctrl-C stops it)
	@exec $(VENV)/bin/llm-refresh up

# Three for each of two cores: tests of real processes mostly wait for them.
TEST_PROCESSES ?= 6
# Hundreds of Python processes start in a run: a shell that forbids files of compiled code would have each compile anew.
test test-fault: export PYTHONDONTWRITEBYTECODE =
test: set-up-dev ## run the unit, integration and end-to-end tests
	@exec $(VENV)/bin/python -m pytest -n $(TEST_PROCESSES) --no-loadscope-reorder -m "not fault"

test-fault: set-up-dev ## run the tests that kill, stop and wipe real processes, and property tests with ten times the examples
	@$(VENV)/bin/python -m pytest -m fault tests/fault tests/integration
	@exec $(VENV)/bin/python -m pytest -n 2 -m hypothesis --hypothesis-profile=thorough --timeout 1200

mutants: set-up-dev ## take out one mechanism at a time, in a copy, and see a test fail for each: NAMES="fence lease"
	@exec $(VENV)/bin/python -m tests.mutants $(NAMES)

SECONDS ?= 120
SEED ?= 1
chaos: set-up-dev ## faults on real processes while callers ask, then the promises are checked: SECONDS=120 SEED=1
	@exec $(VENV)/bin/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED)

bench: set-up-dev ## measure against the fastest known forms, as ratios
	@exec $(VENV)/bin/python -m bench

bench-peers: set-up-dev ## measure the OpenAI wire beside LiteLLM's proxy, which goes into .venv-peers, apart from ours
	@$(MAKE) .install-peers || echo "bench-peers: LiteLLM could not be installed; ours is measured alone, and nothing is compared" >&2
	@exec $(VENV)/bin/python -m bench peers

lint: set-up-dev ## check style, formatting, types and who may import whom
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

lock: ## renew the locks from pyproject.toml and bench/peers.in (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(call compile,requirements.lock,--extra build --extra notify)
	$(call compile,requirements-local.lock,--extra build --extra notify --extra local)
	$(call compile,requirements-dev.lock,--extra build --extra notify --extra local --extra dev)
	uv pip compile bench/peers.in --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet \
		--output-file bench/peers.lock

clean: ## remove the environment and all caches; the data in .local stays
	rm -rf $(VENV) .venv-peers build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find worker shared migrations tests -name __pycache__ -type d -prune -exec rm -rf {} +

compile = uv pip compile pyproject.toml $(2) --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --quiet --output-file $(1)

# A stamp holds what was installed, and where: written last, so that an interrupted set-up is done again, as it is after
# a change of the lock or a move of the folder. The environment of the tests holds all of the local one.
STAMP_OF = echo "$(CURDIR)" && cat pyproject.toml requirements-$(1).lock | cksum

set-up-local:
	@[ "$$($(call STAMP_OF,local))" = "$$(cat $(VENV)/local.stamp 2>/dev/null)" ] || $(MAKE) .install LOCK=local

set-up-dev:
	@[ "$$($(call STAMP_OF,dev))" = "$$(cat $(VENV)/dev.stamp 2>/dev/null)" ] || $(MAKE) .install LOCK=dev

.PHONY: .install
.install: .venv-exists
	@echo "environment: installing requirements-$(LOCK).lock into $(VENV), half a minute or so"
	@rm -f $(VENV)/$(LOCK).stamp
	@$(PIP) install --require-hashes -r requirements-$(LOCK).lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@if [ $(LOCK) = dev ]; then ($(call STAMP_OF,local)) > $(VENV)/local.stamp; fi
	@($(call STAMP_OF,$(LOCK))) > $(VENV)/$(LOCK).stamp

.PHONY: .install-peers
# Made anew after a change of its lock; half an environment is none.
.install-peers:
	@[ "$$(cksum < bench/peers.lock)" = "$$(cat .venv-peers/peers.stamp 2>/dev/null)" ] && exit 0; \
	echo "environment: installing bench/peers.lock into .venv-peers, some minutes and 1 GB"; \
	rm -rf .venv-peers && $(VENV)/bin/python -m venv .venv-peers \
	&& .venv-peers/bin/python -m pip --disable-pip-version-check --no-input --quiet --quiet install --require-hashes -r bench/peers.lock \
	&& cksum < bench/peers.lock > .venv-peers/peers.stamp || { rm -rf .venv-peers; exit 1; }

.PHONY: .venv-exists
# A folder that was moved keeps an environment whose programs name the old place in their first line: it is made anew.
.venv-exists:
	@if $(VENV)/bin/python -c 'import pip' 2>/dev/null && grep -qsF "$(CURDIR)/$(VENV)/bin/" $(VENV)/bin/pip; then exit 0; fi; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		found="$$python"; \
		"$$python" -c 'import venv, ensurepip' 2>/dev/null || continue; \
		echo "environment: making $(VENV) with $$("$$python" --version)"; \
		exec "$$python" -m venv --clear $(VENV); \
	done; \
	if [ -n "$$found" ]; then \
		echo "$$found has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
	else \
		echo "Python 3.11 or newer was not found: install it, or name one: make up PYTHON=/path/to/python3" >&2; \
	fi; exit 1
