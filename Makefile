.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PYTHONUNBUFFERED = 1

.PHONY: help demo test install dev check format types lint unit browser benchmarks screenshots clean

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.installed  ## Install, run a real audit of the demo classifier, and serve the dashboard
	@$(BIN)/faultline demo

test: $(VENV)/.installed-dev  ## Install all that the tests need, and run everything
	@bash scripts/system_packages.sh
	@$(BIN)/python scripts/check.py

install: $(VENV)/.installed  ## Make the environment
dev: $(VENV)/.installed-dev  ## Make the environment with the tools of development

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Faultline needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one with PYTHON=…") if sys.version_info < (3, 11) else None'
	@echo "→ Making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "→ Installing Faultline (PyTorch is large: a few minutes on a slow line)"
	@$(BIN)/python -m uv pip install --compile-bytecode --python $(BIN)/python -e . || $(BIN)/python -m pip install -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "→ Installing Faultline and the tools of development"
	@$(BIN)/python -m uv pip install --compile-bytecode --python $(BIN)/python -e '.[scenes]' --group dev || $(BIN)/python -m pip install -e '.[scenes]' --group dev
	@touch $(VENV)/.installed $@

check: lint types unit  ## Lint, types and tests but long ones, without installing anything

lint:  ## ruff, import-linter, djlint
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/djlint templates app --check --quiet

types:  ## mypy in strict mode
	$(BIN)/mypy

unit:  ## pytest, without long tests
	$(BIN)/pytest

format:  ## Format the code
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

benchmarks:  ## Run every benchmark; each prints ratios
	@for file in benchmarks/*.py; do name=$$(basename $$file .py); [ $$name = __init__ ] || $(BIN)/python -m benchmarks.$$name; done

screenshots:  ## Make the screenshots of the pages from a running demo
	$(BIN)/python scripts/screenshots.py

clean:  ## Remove the environment and the demo's data
	rm -rf $(VENV) .faultline
