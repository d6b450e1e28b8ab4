# People and CI run the same targets. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The first interpreter that runs and is 3.10, 3.11 or 3.12.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.base  ## the environment (.venv), nothing else

.venv/.base: requirements/base.txt client/pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.10, 3.11 or 3.12 is needed and was not found; pass PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --no-deps -r requirements/base.txt
	$(PIP) install --no-deps --no-build-isolation -e client
	@touch $@

.venv/.dev: .venv/.base requirements/dev.txt requirements/torch.txt
	$(PIP) install --require-hashes --no-deps -r requirements/dev.txt
	$(PIP) install -r requirements/torch.txt
	@touch $@

lock:  ## pin the environment anew (requirements/*.txt)
	for set in base dev; do $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links requirements/$$set.in -o requirements/$$set.txt; done

.PHONY: help install lock
