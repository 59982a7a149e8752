# Everything a newcomer types. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
# The name of a pipeline: demo, paper, released, study, field, recipes.
PIPELINE ?= demo
DVC_FILE = $(if $(filter demo,$(PIPELINE)),dvc.yaml,$(PIPELINE)/dvc.yaml)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help clone repro test test-slow test-data test-gpu lint bench ui mlflow-sync register train-parallel clean-stale clean docs lock

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

$(BIN)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python -c 'import triton' 2> /dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[interpreter]'
	touch $@

# DVC works in git clones only; said before the installation, which takes minutes.
clone:
	@git rev-parse --git-dir > /dev/null 2>&1 || { echo "error: this folder is no git clone, without which DVC runs nothing: clone the repository instead of unpacking its archive, or make one here: git init && git add --all && git commit --message 'Start from the archive'"; exit 1; }

repro: clone $(BIN)/.installed ## environment + the whole pipeline + MLflow; PIPELINE=paper for another
	dvc repro $(DVC_FILE)
	@printf '\nreport: reports/$(PIPELINE)/README.md\nruns:   `make ui` shows them\nverify: '
	@PYTHONPATH=src python -m alkdnet.cli verify $(PIPELINE) || true

test: $(BIN)/.installed ## the fast tests, under two minutes
	python -m pytest -n 2

test-slow: $(BIN)/.installed ## the tests of the pipeline, the kills and the experiments, about twenty minutes
	python -m pytest -m slow

test-data: $(BIN)/.installed ## the tests against published files in the folder ALKDNET_TEST_DATA
	python -m pytest -n 2 -m 'data and not slow'

test-gpu: $(BIN)/.installed ## the tests that need a CUDA device
	python -m pytest -m gpu

lint: $(BIN)/.installed ## formatting, style and types
	ruff format --check .
	ruff check .
	mypy
	mypy --package benchmarks

bench: $(BIN)/.installed ## the main benchmarks, each against a plain implementation
	for benchmark in resize patches train_step inference evaluation; do PYTHONPATH=src python -m benchmarks.$$benchmark || exit 1; done

ui: $(BIN)/.installed ## MLflow's page at http://127.0.0.1:5000, open at the runs
	PYTHONPATH=src python tools/mlflow_ui.py

mlflow-sync: $(BIN)/.installed ## mirror the results of PIPELINE into MLflow
	PYTHONPATH=src python tools/mlflow_sync.py $(PIPELINE)

register: $(BIN)/.installed ## a version in MLflow's model registry from RUN of PIPELINE
	PYTHONPATH=src python tools/register.py $(PIPELINE) --run $(RUN)

train-parallel: $(BIN)/.installed ## the runs of PIPELINE side by side: one per GPU, without GPUs two; N=4: four; ARGS='--on slurm ...'
	PYTHONPATH=src python tools/train_parallel.py $(if $(N),--jobs $(N)) --pipeline $(PIPELINE) $(ARGS)

clean-stale: $(BIN)/.installed ## remove what a stopped machine left behind; results and checkpoints stay
	PYTHONPATH=src python tools/clean_stale.py

docs: $(BIN)/.installed ## docs/parameters.md, reports/audit.md and the figures of docs/networks.md from the code
	PYTHONPATH=src python tools/parameter_docs.py
	PYTHONPATH=src python tools/audit.py
	PYTHONPATH=src python tools/architecture.py

clean: ## remove the environment and the caches of the tools; data, results and MLflow's store stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache

# torch brings CUDA's packages and triton, of which a CPU build needs none.
lock: $(BIN)/.installed ## uv.lock and requirements.lock from pyproject.toml; ARGS=--upgrade: with the newest versions
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	uv lock $(ARGS)
	set -o pipefail; uv export --quiet --frozen --no-hashes --no-annotate --no-header --no-emit-project $(foreach extra,pipeline onnx cluster dev,--extra $(extra)) \
	| grep -vE '^(cuda|nvidia|triton)' > requirements.lock
