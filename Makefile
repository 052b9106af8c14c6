# What a contributor types. Every command does its own set-up, once, in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
VARIANT := cpu

.DEFAULT_GOAL := help
.PHONY: install demo test check fix dist lock bundle help

install: $(READY)  ## set up .venv with the pinned versions

demo: $(READY)  ## four hospitals, one study, one table (3 minutes on a fast machine, 10 on a slow one)
	$(BIN)/wardround demo

test: $(READY)  ## run the tests, without the slow ones
	$(BIN)/pytest -m "not slow" --numprocesses 3 --dist loadscope --no-loadscope-reorder

check: $(READY)  ## lint, format, types and licences
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/pytest tests/test_licences.py

fix: $(READY)  ## format, and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

dist: $(READY)  ## the wheel and the source archive: the same bytes from the same commit
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -m hatchling build --directory dist

lock: $(READY)  ## resolve the packages anew, with hashes (TORCH_CPU=folder or page with CPU builds of torch)
	$(BIN)/python -m deploy.release lock --torch "$(TORCH_CPU)"

bundle: dist  ## what installs without a network (VARIANT=cuda for GPUs; KEY=file signs it)
	$(BIN)/python -m deploy.release bundle "$$(ls -t dist/wardround-*.whl | head -1)" --variant $(VARIANT) $(if $(KEY),--key "$(KEY)")

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
