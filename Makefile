# Each target makes the virtual environment, installs and builds what it needs, and again only after a change.
PYTHON ?= python3
OLDEST_PYTHON ?= 3.10
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# One interpreter for every cargo command, or each would rebuild the bindings for its own.
export PYO3_PYTHON := $(abspath $(BIN)/python)

.DEFAULT_GOAL := help
.PHONY: help fit test slow check memcheck bench docs clean wheel test-wheel test-sdist test-oldest test-msrv audit crates licenses

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

fit: $(VENV)/.installed  ## Train Acrobot and show the result; ARGS="--preset cartpole" for more
	$(BIN)/python -m acro.fit $(ARGS)

test: $(VENV)/.test  ## Run cargo's tests and pytest, less what is marked slow
	cargo test --quiet --locked
	$(BIN)/python -m pytest -q -m "not slow and not site" -n auto --dist worksteal $(ARGS)

slow: $(VENV)/.test  ## Run the slow tests: runs stopped at 60 random moments, and the like
	$(BIN)/python -m pytest -q -m slow -n auto --dist worksteal $(ARGS)

check: $(VENV)/.check $(VENV)/.test  ## Check format, lints, types, stubs, workflows, the documentation's pages, links and notebook, a wheel
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --quiet --locked --workspace --no-deps
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest acro._rust
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/jactionlint --shellcheck=
	$(BIN)/zizmor --quiet --offline .github
	$(BIN)/python -m pytest -q -m site -rs tests/test_site.py tests/test_docs.py
	rm -rf target/wheel
	$(BIN)/maturin build --quiet --release --locked --compatibility linux --out target/wheel
	$(BIN)/python .ci/test_wheel.py --borrow --short target/wheel/*.whl

memcheck: $(VENV)/.test  ## Run the memory's and the network's tests under valgrind, which must have nothing to say of the bindings
	@command -v valgrind >/dev/null || { echo "make memcheck needs valgrind: install it first" >&2; exit 1; }
	@mkdir -p target
	PYTHONMALLOC=malloc valgrind --quiet --error-limit=no --num-callers=30 --log-file=target/memcheck.log \
		$(BIN)/python -m pytest -q -p no:cacheprovider $(filter-out %_draws.py %_fuzz.py %_limits.py,$(wildcard tests/replay/*.py)) tests/dqn/test_rust_network.py
	@! grep -F '_rust.' target/memcheck.log

bench: $(VENV)/.benchmark .venv-jax/.installed  ## Run a short form of every benchmark, peers included
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs  ## Build the documentation into site/
	$(BIN)/python .ci/build_docs.py

# manylinux2014 (glibc 2.17) is the oldest that Rust itself supports; zig links against it on any machine.
wheel: $(VENV)/.release  ## Build a wheel and the source distribution into dist/
	rm -rf dist
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/maturin build --quiet --release --locked --out dist \
		$(if $(filter Linux,$(shell uname -s)),--zig --compatibility manylinux2014)
	$(BIN)/maturin sdist --out dist

test-wheel: wheel  ## Install the wheel without a compiler and use it; ARGS=--borrow downloads nothing
	$(BIN)/python .ci/test_wheel.py $(ARGS) dist/*.whl

test-sdist: wheel  ## Build a wheel from the source distribution alone
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir target/from-sdist dist/*.tar.gz

test-msrv:  ## Run cargo's tests with the oldest Rust that Cargo.toml allows
	rustup toolchain install --no-self-update --profile minimal $(MSRV)
	CARGO_TARGET_DIR=target/msrv cargo +$(MSRV) test --quiet --locked

# The oldest dependencies use what newer ones beneath them have deprecated; that is not acro's to mend.
test-oldest: $(VENV)/.release  ## Run the tests with the oldest Python and dependencies that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(OLDEST_PYTHON) .venv-oldest
	PYO3_PYTHON=$(abspath .venv-oldest/bin/python) $(BIN)/uv pip install --quiet --python .venv-oldest \
		--resolution lowest-direct '.[test]'
	.venv-oldest/bin/python -m pytest -q -W ignore::DeprecationWarning -m "not slow and not site" -n auto --dist worksteal $(ARGS)

audit: $(VENV)/.release  ## Look for known vulnerabilities, and at the crates' licences and sources
	@command -v cargo-deny >/dev/null || { echo "make audit needs cargo-deny: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny --locked check advisories licenses sources
	$(BIN)/pip-audit --skip-editable

crates:  ## Pack the pure crates as they would be published, and build what was packed
	cargo publish --dry-run --locked --allow-dirty --package acro-replay --package acro-network --package acro-acrobot

licenses:  ## Write THIRD_PARTY_LICENSES.txt after a change of Cargo.lock
	$(PYTHON) .ci/licenses.py

clean:  ## Remove what was built and installed; runs stay
	rm -rf $(VENV) .venv-jax .venv-oldest target site dist

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

# JAX and SBX, which some benchmarks compare with.
.venv-jax/.installed: benchmarks/jax_requirements.txt
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

$(VENV)/.%: $(VENV)/.installed
	$(PIP) --editable '.[$*]'
	@touch $@
