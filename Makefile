# Each target makes the virtual environment, installs and builds what it needs, and again only after a change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# One interpreter for every cargo command, or each would rebuild the bindings for its own.
export PYO3_PYTHON := $(abspath $(BIN)/python)

.DEFAULT_GOAL := help
.PHONY: help fit test check memcheck bench docs clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

fit: $(VENV)/.installed  ## Train Acrobot and show the result; ARGS="--preset cartpole" for more
	$(BIN)/python -m acro.fit $(ARGS)

test: $(VENV)/.test  ## Run cargo's tests and pytest
	cargo test --quiet --locked
	$(BIN)/python -m pytest -q $(ARGS)

check: $(VENV)/.check  ## Check format, lints, types, documentation and stubs
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --quiet --locked --workspace --no-deps
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest acro._rust

memcheck: $(VENV)/.test  ## Run the memory's tests under valgrind, which must have nothing to say of the bindings
	@command -v valgrind >/dev/null || { echo "make memcheck needs valgrind: install it first" >&2; exit 1; }
	@mkdir -p target
	PYTHONMALLOC=malloc valgrind --quiet --error-limit=no --num-callers=30 --log-file=target/memcheck.log \
		$(BIN)/python -m pytest -q -p no:cacheprovider $(filter-out %_draws.py,$(wildcard tests/test_replay*.py))
	@! grep -F '_rust.' target/memcheck.log

bench: $(VENV)/.benchmark  ## Run a short form of every benchmark, peers included
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## Remove what was built and installed; runs stay
	rm -rf $(VENV) target site

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "acro needs Python 3.10 or newer, found: $$($(PYTHON) --version 2>&1); name one with make PYTHON=..." >&2; exit 1; }
	@command -v cargo >/dev/null || \
		{ echo "acro needs a Rust toolchain to build its replay memory: install cargo, with rustup for example" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	@echo "Installing acro and building its Rust part; the first time PyTorch makes this take minutes."
	$(PIP) --editable .
	@touch $@

$(VENV)/.%: $(VENV)/.installed
	$(PIP) --editable '.[$*]'
	@touch $@
