# Two commands do all the set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test quick clean
.DEFAULT_GOAL := demo

# Fit the embedded digits, and name the report.
demo: $(VENV)/.installed
	$(BIN)/hubel demo

# Lint, types, tests and doctests.
test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest

# Every benchmark in its short form: that it works, not how fast.
quick: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/quick.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.installed
