# `make demo` and `make test` work on a fresh Debian machine with Python 3.11; `make` alone lists the targets.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
VIDEO  ?=
export VIDEO
PORT   ?= 8765

help:                ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 20

demo: $(VENV)/run    ## start the service on a demonstration stream, or VIDEO=/path/file.mp4, rtsp://…, /dev/video0
	$(BIN)/hindsight demo --port $(PORT) $(if $(VIDEO),--video "$$VIDEO")

# tests of servers and cameras mostly wait: three at a time keep two processors busy
test: $(VENV)/dev check   ## set up and run every check and every test
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST)

check: $(VENV)/dev   ## format, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fix: $(VENV)/dev     ## let the formatter and linter mend what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# judged_answers scores answers that someone brings
bench: $(VENV)/dev   ## every benchmark, each beside what it is compared to
	@for name in $(filter-out judged_answers,$(basename $(notdir $(wildcard benchmarks/*.py)))); do \
	  echo "# $$name"; $(BIN)/python -m benchmarks.$$name || missed="$$missed $$name"; done; \
	test -z "$$missed" || { echo "Did not run to its end:$$missed"; exit 1; }

docs: $(VENV)/dev    ## write docs/reference.md anew from the code
	$(BIN)/python docs/reference.py

clean:               ## remove the environment and what tools left behind
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache var

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Hindsight needs Python 3.11 or newer; set PYTHON=/path/to/python."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python cannot make a virtual environment: apt-get install python3-venv"; exit 1; }

$(VENV)/run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,onvif,postgres,quantised]'
	@touch $@ $(VENV)/run

.PHONY: help demo test check fix bench docs clean
