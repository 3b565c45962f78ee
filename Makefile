# The developer's commands; `.ci/run` calls the same ones. Every target makes what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(shell find src -name '*.py' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi')
PYTEST := $(BIN)/python -m pytest
BENCH := $(PYTEST) -o python_files='bench_*.py' -o python_functions='bench_*' -p no:xdist

.DEFAULT_GOAL := help
.PHONY: help install demo test lint pythons sanitize fuzz kill-test flood-test tagged-test conformance bench window dist docs clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.tools: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fastgate needs Python 3.11 or later; say which with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "setuptools>=77" "cython>=3.3,<3.4"
	@touch $@

# The wheel is what is tested, never the source folder.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	$(BIN)/pip install --quiet ".[dev]"
	$(BIN)/pip install --quiet --force-reinstall --no-deps .
	@touch $@

install: $(VENV)/.installed ## Build and install fastgate into .venv

demo: install ## Three regions on this machine and a guided tour; Ctrl-C ends it
	@$(BIN)/fastgate demo

test: install lint ## All checks of a change: style, types, imports, tests
	$(PYTEST) -n 2 --dist worksteal -q

lint: install ## Style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@# it calls pycodestyle by name
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint src/fastgate/_ext

pythons: ## Unit tests on every Python from 3.11 to 3.14 that is present
	./.ci/pythons

sanitize: install ## Compiled modules under AddressSanitizer and UBSan
	rm -rf build/sanitize
	FASTGATE_BUILD=sanitize $(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/sanitize .
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1 \
	PYTHONPATH=build/sanitize PYTHONMALLOC=malloc \
	$(PYTEST) -q tests/ext tests/twins

build/fuzz/.built: $(VENV)/.installed
	$(BIN)/pip show --quiet atheris || $(BIN)/pip install --quiet ".[fuzz]"
	rm -rf build/fuzz
	CC=clang LDSHARED="clang -shared" FASTGATE_BUILD=fuzz \
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/fuzz .
	@touch $@

FUZZ_SECONDS ?= 60
fuzz: build/fuzz/.built ## Fuzz readers of foreign bytes, and the lanes (FUZZ_SECONDS each); needs clang
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --jobs "$$(nproc)"

KILLS ?= 10000
SYSTEM_KILLS ?= 200
FLIPS ?= 100000
kill-test: install ## Kill writers, readers, agent, workers; flip saved states (KILLS, SYSTEM_KILLS, FLIPS)
	$(BIN)/python -m tests.adversity.index_kills --kills $(KILLS)
	$(BIN)/python -m tests.adversity.system_kills --kills $(SYSTEM_KILLS)
	$(BIN)/python -m tests.adversity.snapshot_flips --flips $(FLIPS)

FLOOD_SECONDS ?= 8
flood-test: install ## Flood a gateway with bad tokens: what good clients notice, what each costs
	$(BIN)/python -m tests.adversity.floods --seconds $(FLOOD_SECONDS)

TAGGED ?= 1000000
tagged-test: install ## Tagged requests over breaking connections: no answer is another's (TAGGED)
	$(BIN)/python -m tests.lanes.tagged --requests $(TAGGED)

conformance: install ## Judge all third-party vectors in FASTGATE_VECTORS; writes docs/conformance.md
	$(BIN)/python -m tests.conformance.report

bench: install ## Token, gate and revocations against their floors
	$(BENCH) bench/micro -q --benchmark-columns=min,median,iqr,rounds
	$(BIN)/fastgate bench decision

ROUNDS ?= 100
window: install ## The worst window of a revoked token over ROUNDS of faults; about 25 s each
	$(BIN)/fastgate bench window --rounds $(ROUNDS) --rate 60 --results bench/results

dist: install ## sdist and wheel in dist/
	$(BIN)/python -m build --quiet

docs: install ## Write the generated pages anew
	$(BIN)/fastgate config schema > docs/config.schema.json
	$(BIN)/fastgate config reference > docs/configuration.md
	$(BIN)/python -m tests.domain.metrics_reference > docs/metrics.md
	$(BIN)/python -m tests.domain.reasons_reference > docs/reasons.md

clean: ## Remove what the targets made
	rm -rf $(VENV) .venv-* build dist src/*.egg-info
	find src -name '*.so' -o -name '*.c' | xargs rm -f
