# `make` is the menu. `make demo` and `make test` do all set-up by themselves on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECORDS ?= 1000000
STAMP := $(VENV)/.installed
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: menu venv demo test test-long check format bench mutation pins clean
menu:
	@echo "make demo       the whole life of an order on real documents (SOURCE=DIR MAIL=DIR of .eml to use yours)"
	@echo "make test       all tests that fit in 15 minutes"
	@echo "make test-long  full crash loops, fuzzing, large corpora"
	@echo "make check      format, lint, types, import directions"
	@echo "make bench      benchmarks beside restic, borg, bagit, DuckDB, polars and grep (ARGS= and RECORDS=5000000)"
	@echo "make mutation   mutation testing of merkle and verify (ARGS='verify --only NAME'); can be stopped and continued"
	@echo "make venv       only make .venv"

# The pins are the whole set, so nothing is resolved again: pip asks for the newest `coverage[toml]` otherwise, which no
# hash covers as soon as there is one.
venv: $(STAMP)
$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Scellé needs Python 3.11 or later; set PYTHON=...")'
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --clear --python "$$(command -v $(PYTHON))" $(VENV) && \
	  uv pip install -q --python $(BIN)/python --no-deps --require-hashes -r requirements/dev.txt && \
	  uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  $(PYTHON) -m venv --clear $(VENV) && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

demo: venv
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m demo $(if $(SOURCE),--source "$(SOURCE)") $(if $(MAIL),--mail "$(MAIL)")

# Tests make durable by the ten thousand: memory takes that faster than a disk, where there is plenty of it.
SHM := $(if $(TMPDIR),,$(shell [ -w /dev/shm ] && [ $$(df -k --output=avail /dev/shm | tail -1) -gt 12000000 ] && echo TMPDIR=/dev/shm))
test: venv
	$(SHM) $(BIN)/python -m pytest -n 2 -m "not long" $(ARGS)

test-long: venv
	$(BIN)/python -m pytest -n 2 --timeout 7200 $(ARGS)

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: venv
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m benchmarks.peers $(ARGS)
	$(BIN)/python -m benchmarks.records --records $(RECORDS)
	$(BIN)/python -m benchmarks.proofs
	$(BIN)/python -m benchmarks.holds
	$(BIN)/python -m benchmarks.watch
	$(BIN)/python -m benchmarks.guard
	$(BIN)/python -m benchmarks.gate
	$(BIN)/python -m benchmarks.detectors
	$(BIN)/python -m benchmarks.recorder

mutation: venv
	$(BIN)/python -m tests.mutation $(ARGS)

pins:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements/base.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group dev pyproject.toml -o requirements/dev.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
