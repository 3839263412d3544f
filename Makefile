# Two commands for a user: `make demo` and `make test`. Everything lives in .venv, made from uv.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
READY := $(VENV)/.ready
TRIAL ?= full
DATA ?= data/demo

.PHONY: demo up test test-all lint bench story-evidence clean
.DEFAULT_GOAL := help

help:
	@echo "make demo        serve examples/school, send it to sea, keep serving   (TRIAL=short: end after a short trial)"
	@echo "make up          serve examples/school without the trial"
	@echo "make test        the test suite"
	@echo "make test-all    the slow part: real models, browser, soak"
	@echo "make lint        ruff, mypy, import contracts"
	@echo "make bench       what we claim about speed, as ratios"
	@echo "make story-evidence   from a failure in production to a case, a fixed release, a canary, a rollback (3 minutes)"

$(READY): uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Waterline needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Cannot make $(VENV). On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv sync --frozen --inexact --quiet --extra local --extra semantic --extra connectors --extra agents
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python examples/demo.py --trial $(TRIAL) --data $(DATA)

up: $(READY)
	@$(BIN)/python examples/demo.py --trial none --data $(DATA)

test: $(READY)
	@$(BIN)/python tests/again.py -n 3 --dist worksteal

test-all: $(READY)
	@$(BIN)/waterline model pull smollm2-135m
	@$(BIN)/waterline model pull qwen2.5-coder-1.5b
	@$(BIN)/python tests/again.py -m slow --timeout 1200

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)
	@$(BIN)/python bench/run.py

story-evidence: $(READY)
	@$(BIN)/python examples/story/evidence.py

clean:
	rm -rf $(VENV) data out
