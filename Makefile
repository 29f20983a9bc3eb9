# Everything a machine with python3 (3.11 or newer) and make needs. Another Python: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
MIN_COVERAGE ?= 95

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PINNED := pyproject.toml constraints.txt

.PHONY: help demo test bench check types lint format package constraints clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: $(VENV)/.for-demo ## install refold into .venv and run its demo
	@$(BIN)/refold demo

# Tests start refold in hundreds of processes: it is compiled once, whatever the environment says.
test: $(VENV)/.for-test ## run every test with branch coverage
	@echo "test: pytest, at least $(MIN_COVERAGE)% of engine, adapters and eventstore covered"
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-fail-under=$(MIN_COVERAGE)

bench: $(VENV)/.for-bench ## measure the stores against eventsourcing and the raw drivers
	@$(BIN)/python benchmarks/bench.py

check: types lint ## type-check and lint

types: $(VENV)/.for-check ## mypy --strict over the package as it is imported
	@echo "types: mypy --strict -p refold"
	@mkdir -p $(VENV)/lint && ln -sfn "$(CURDIR)" $(VENV)/lint/refold
	@MYPYPATH=$(VENV)/lint $(BIN)/python -m mypy -p refold

lint: $(VENV)/.for-check ## ruff over everything, format included
	@echo "lint: ruff check, ruff format --check"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.for-check ## format everything, and repair what ruff can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

package: $(VENV)/.for-check ## build the wheel, install it and run its demo elsewhere
	@echo "package: building dist/ (sdist, and the wheel from it)"
	@rm -rf build dist && mkdir build
	@$(BIN)/python -m build --outdir dist . >build/log 2>&1 || { cat build/log; exit 1; }
	@$(BIN)/python tests/packaging/check_wheel.py dist/*.whl
	@echo "package: installing the wheel, running its demo from another folder"
	@$(BIN)/python -m venv build/alone
	@build/alone/bin/python -m pip --quiet --disable-pip-version-check install -c constraints.txt "$$(ls dist/*.whl)[simulators]"
	@build/alone/bin/python -m pip --disable-pip-version-check check
	@mkdir -p build/elsewhere && cd build/elsewhere && ../alone/bin/refold demo

constraints: ## renew constraints.txt with the newest versions that pyproject.toml allows
	@echo "constraints: resolving"
	@rm -rf build/newest && $(PYTHON) -m venv build/newest
	@build/newest/bin/python -m pip --quiet --disable-pip-version-check install '.[dev]'
	@{ sed '/^#/!d' constraints.txt; \
	   build/newest/bin/python -m pip --disable-pip-version-check freeze --exclude refold; } > build/constraints.txt
	@mv build/constraints.txt constraints.txt

clean: ## remove everything the other targets made
	@rm -rf $(VENV) build dist refold.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.for-demo: EXTRA := [simulators]
$(VENV)/.for-test: EXTRA := [test]
$(VENV)/.for-bench: EXTRA := [bench]
$(VENV)/.for-check: EXTRA := [dev]
# The extras of the checkers hold all others.
$(VENV)/.for-check: ALSO := $(VENV)/.for-demo $(VENV)/.for-test $(VENV)/.for-bench
$(VENV)/.for-demo $(VENV)/.for-test $(VENV)/.for-bench $(VENV)/.for-check: $(PINNED) | $(BIN)/python
	@echo "installing refold$(EXTRA) into $(VENV)"
	@$(PIP) install -c constraints.txt -e '.$(EXTRA)'
	@touch $@ $(ALSO)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "error: $(PYTHON) not found; name a Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $$($(PYTHON) --version 2>&1) is too old; name a Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
