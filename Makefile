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

# Lint, types, tests and doctests; as many tests at once as there are cores, each on one thread.
test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

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
