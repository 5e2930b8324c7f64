# Each target makes its own .venv and needs nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help quickstart test check format speed schema clean

help:
	@echo "make quickstart   prepare, pretrain, probe, benchmark and report on the embedded scenario"
	@echo "make test         the test suite"
	@echo "make check        ruff and mypy --strict"
	@echo "make speed        ratios against peers and against the machine's limit"
	@echo "make format       format the code"
	@echo "make schema       write recipes/schema.json anew"

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml hatch_build.py constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml hatch_build.py constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.core

$(VENV)/.speed: $(VENV)/.dev tests/speed/requirements.txt
	$(PIP) -r tests/speed/requirements.txt
	@touch $@

quickstart: $(VENV)/.core
	$(BIN)/wfm quickstart

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

speed: $(VENV)/.speed
	$(BIN)/python tests/speed/run.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(VENV)/.core
	$(BIN)/wfm recipes schema --out recipes/schema.json

clean:
	rm -rf $(VENV) quickstart build dist
