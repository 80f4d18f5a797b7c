# Two commands do everything: make quickstart, make test. Each makes its own .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Another build of torch: make test TORCH_INDEX=https://…
TORCH_INDEX ?=
INDEX := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)
LANGUAGE ?= en

.PHONY: quickstart test test-all test-slow test-gpu lint table bench wheel clean

quickstart: $(VENV)/.user
	$(BIN)/softprompt quickstart --lang $(LANGUAGE)

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n auto -m "not slow and not gpu"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu

test-all: $(VENV)/.dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

# Prompt tuning beside its baselines on real data: make table ARGS='--data FOLDER' (about an hour for
# each backbone on two cores; interrupted, it goes on).
table: $(VENV)/.dev
	$(BIN)/python -m benchmarks.backbones $(ARGS)

# Speed and memory beside PEFT: make bench ARGS="--cases 'train/gpt2/*' --rounds 3" (all cases: hours;
# --list names them, --quick is a first look).
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.speed $(ARGS)

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel --no-isolation

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch first and alone: nothing else may choose another build of it.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	$(BIN)/python -m pip install --quiet $(INDEX) -c constraints.txt torch
	touch $@

$(VENV)/.user: $(VENV)/.torch pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.user

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,peft]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
