# What a contributor types. Every command does its own set-up, once, in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: install demo test check fix help

install: $(READY)  ## set up .venv with the pinned versions

demo: $(READY)  ## four hospitals, one study, one table (3 minutes on a fast machine, 10 on a slow one)
	$(BIN)/wardround demo

test: $(READY)  ## run the tests, without the slow ones
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist loadgroup

check: $(READY)  ## lint, format, types and licences
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/pytest tests/test_licences.py

fix: $(READY)  ## format, and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
