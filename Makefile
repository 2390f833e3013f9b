# `make demo` and `make test` set up what they need. VENV=DIR chooses another virtual environment.
PYTHON ?= python3
VENV ?= .venv
# Test files that run at once; most of them wait more than they compute.
TEST_JOBS ?= 2
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help fuzz chaos demo test check lint types imports proto-check proto unit bench constraints clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## set up, then run real photos through device, edge and cloud
	$(BIN)/tercet demo

test: check unit  ## set up, then every check and every test

unit: $(VENV)/.dev  ## tests only
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

check: lint types imports proto-check  ## format, lint, types, import contracts, proto drift

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

proto-check: $(VENV)/.dev
	$(BIN)/python protos/generate.py --check

proto: $(VENV)/.dev  ## regenerate shared/tercet/v1 from protos/
	$(BIN)/python protos/generate.py

fuzz: $(VENV)/.dev  ## a million mutated frames against everything that decodes
	cd tests && $(abspath $(BIN))/python -m fuzz.frames --count 1000000

chaos: $(VENV)/.dev  ## faults against whole running systems, ten seeds of each
	cd tests && $(abspath $(BIN))/python -m chaos --seeds 10

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	@touch $@

bench: $(VENV)/.bench  ## print the tables in docs/
	$(BIN)/tercet bench relay
	$(BIN)/tercet bench hops
	$(BIN)/tercet bench serve --devices 1000
	$(BIN)/tercet bench durable
	$(BIN)/tercet bench dag
	$(BIN)/tercet bench codec efficientnet-lite0
	$(BIN)/tercet bench codec-cnn
	$(BIN)/tercet bench cascade
	$(BIN)/tercet bench delta
	$(BIN)/tercet bench adapt
	$(BIN)/tercet bench planner

constraints: $(VENV)/.bench  ## pin what is installed now into constraints.txt
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:  ## remove everything that set-up and runs made
	rm -rf $(VENV) .tercet .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
