# Everything runs in a virtual environment of its own, made from Python >= 3.11 alone.
# constraints.txt pins torch's version. For a particular build of it (CUDA, say), make .venv yourself,
# install that build into it, and then run make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help test test-all lint demo bench docs build clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt src/hauberk/__about__.py
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "hauberk needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
# timm without torchvision, which builds of torch for a CPU alone cannot import: its networks do without.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'timm>=1.0'
	touch $@

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread for each of several test processes: threads of small operations wait for each other.
test: lint  ## lint, then all tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "not slow"

test-all: lint  ## the same with the slow tests, and coverage
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -q -n auto --cov --cov-report=term

demo: $(READY)  ## train and compare two small models on embedded data
	$(BIN)/hauberk demo

bench: $(READY)  ## the tables of benchmarks/; with DATA_DIR=... that of strength, too
	$(BIN)/python benchmarks/projections.py
	$(BIN)/python benchmarks/overhead.py
	test -z "$(DATA_DIR)" || $(BIN)/python benchmarks/strength.py --data-dir "$(DATA_DIR)"

docs: $(READY)  ## rewrite the outputs that README and docs show
	OMP_NUM_THREADS=1 $(BIN)/python docs/regenerate.py

build: $(READY)  ## wheel and source distribution in dist/
	$(BIN)/python -m build --outdir dist

clean:  ## remove what was made here
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
