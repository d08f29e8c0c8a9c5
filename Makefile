# Two commands are enough to start: `make ask` and `make test`. Both build on `make setup`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
MODEL  := $(VENV)/.model
EXTRAS := documents,eval,local,mcp,serve,train,dev

# The document that every Python carries: the language reference, as `help()` shows it.
REFERENCE := $(VENV)/language-reference.txt
DOC ?= $(REFERENCE)
Q   ?= Which exception does division by zero raise?
# More options for ask and train, such as ASK="--json" or TRAIN="--set steps=20".
ASK ?=
TRAIN ?=

.DELETE_ON_ERROR:

.PHONY: help setup model ask train reader results ablations test test-cluster check wheel-test bench clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## Make the environment in .venv, with all extras.

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

model: $(MODEL)  ## Fetch the embedded model (90 MB, once).

$(MODEL): $(READY)
	$(BIN)/memagent pull
	@touch $@

$(REFERENCE): $(READY)
	$(BIN)/python -c 'import pydoc_data.topics as t; print("\n\n".join(t.topics[k] for k in sorted(t.topics)))' > $@

ask: export ASK_DOC = $(DOC)
ask: export ASK_Q = $(Q)
ask: $(MODEL) $(REFERENCE)  ## Read a document and answer: make ask DOC=book.txt Q="Who inherits the house?"
	HF_HUB_OFFLINE=1 $(BIN)/memagent ask "$$ASK_DOC" -q "$$ASK_Q" $(ASK)

train: $(MODEL)  ## Train the embedded model on generated problems: 12 minutes with AMX, resumed where it stopped.
	HF_HUB_OFFLINE=1 $(BIN)/memagent train recipes/cpu.toml $(if $(wildcard runs/cpu/recipe.toml),--resume) $(TRAIN)

# The runs behind the reader in the box, each from the adapter of the one before.
READER_RUNS := reader-warm reader-balanced reader-questions reader-rl reader-brief

reader: $(MODEL)  ## Train the reader in the box anew, from the data in ./data: hours on 2 cores, resumed where it stopped.
	for run in $(READER_RUNS); do \
	  resume=; [ -e runs/$$run/recipe.toml ] && resume=--resume; \
	  HF_HUB_OFFLINE=1 $(BIN)/memagent train recipes/$$run.toml $$resume $(TRAIN) || exit 1; \
	done

results: $(MODEL)  ## Measure what docs/results.md shows, as far as it is missing: many hours on 2 cores.
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/results.py run

ablations: $(MODEL)  ## Short runs that differ in one thing each; the table is runs/ablations/report.md.
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/ablations.py

test: $(MODEL) test-cluster  ## Run all tests.
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

# verl holds transformers below the version that everything else here runs with: it has an environment of its own.
CLUSTER       := .venv-cluster
CLUSTER_READY := $(CLUSTER)/.ready

$(CLUSTER_READY): pyproject.toml constraints-cluster.txt
	$(PYTHON) -m venv $(CLUSTER)
	$(CLUSTER)/bin/python -m pip install --quiet --constraint constraints-cluster.txt \
	  --editable ".[cluster,local]" pytest pytest-asyncio
	@touch $@

test-cluster: $(MODEL) $(CLUSTER_READY)  ## Run the tests of training on verl, on the CPU, in .venv-cluster.
	HF_HUB_OFFLINE=1 $(CLUSTER)/bin/python -m pytest -W ignore tests/training/cluster

check: $(READY)  ## Lint, formatting and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel-test: $(READY)  ## Build the wheel, install it into an empty environment and run it there.
	rm -rf build dist && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/empty && build/empty/bin/pip install --quiet --constraint constraints.txt dist/*.whl
	build/empty/bin/memagent --version
	cd build && XDG_DATA_HOME=$$PWD/data empty/bin/memagent readings list

bench: $(MODEL)  ## Run the benchmarks one after the other; each prints a ratio measured in one run.
	for script in benchmarks/bench_*.py; do HF_HUB_OFFLINE=1 $(BIN)/python $$script || exit 1; done

clean:  ## Remove the environment and what was built.
	rm -rf $(VENV) $(CLUSTER) build dist
