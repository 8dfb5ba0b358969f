# Reproduction of "Hidden Breakthroughs in Language Model Training". `make help` lists what there is to do.

PRESET ?= laptop
# An empty VENV takes the Python that is active already, for example conda's.
VENV ?= .venv
# PyTorch's CPU build, tried first: the plain Linux build brings gigabytes of CUDA libraries and other bits.
# Leave TORCH_INDEX empty for the plain build, which can use a GPU.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# The environment that gives the same bits on every x86-64 CPU (polca.machine.runtime).
include src/polca/machine/pinned.env
export $(shell sed 's/=.*//' src/polca/machine/pinned.env)

# Large arrays come and go at every step. Kept in the heap, their pages are not cleared by the kernel each time: the same
# bits a little sooner. Read by glibc alone.
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TRIM_THRESHOLD_ := 8589934592

export PYTHONPATH := $(CURDIR)/src
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# DVC runs stages with the shell that SHELL names; users' own shells differ in quoting and start-up files.
SHELL := /bin/sh
export SHELL

# The stages call `python`, so the environment's own must come first on PATH.
ifneq ($(VENV),)
export PATH := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/bin:$(PATH)
BIN := $(VENV)/bin/
STAMP := $(VENV)/.installed
else
STAMP := active-python
endif

# The first Python of 3.11 or newer that can make virtual environments; 3.11 is what the lock was resolved with.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

PRESETS := laptop $(sort $(patsubst presets/%/params.yaml,%,$(wildcard presets/*/params.yaml)))
ifneq ($(words $(PRESET)) $(filter-out $(PRESETS),$(PRESET)),1 )
$(error unknown PRESET "$(PRESET)": choose one of $(PRESETS))
endif
# The root's own dvc.yaml and params.yaml are the laptop preset's, so that a bare `dvc repro` works.
FOLDER := $(if $(filter laptop,$(PRESET)),,presets/$(PRESET)/)
VALIDITY := presets/$(PRESET)/validity/dvc.yaml
RESULTS := figures/$(PRESET) paper/$(PRESET) $(FOLDER)dvc.lock $(if $(filter paper,$(PRESET)),paper/published_scale)

.DEFAULT_GOAL := help
.PHONY: help active-python pipelines repro validity report docs corpus treebank verify bench test thorough browser reliability lint format lock clean distclean
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "PRESET=$(PRESET) (of $(PRESETS)), VENV=$(VENV), PYTHON=$(PYTHON), TORCH_INDEX=$(TORCH_INDEX)"

# Made anew where the lock is newer; pip then changes only what differs.
$(VENV)/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11+ with venv found: install one (Debian, Ubuntu: python3-venv) or name it, PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv "$(VENV)"
	$(call install_torch,"$(VENV)/bin/python")
	"$(VENV)/bin/python" -m pip install -r requirements.lock
	"$(VENV)/bin/python" -m pip install --no-deps --no-build-isolation --editable .
	@touch "$@"

# VENV is empty: the Python that is active must have what the lock pins.
active-python:
	@python -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("torch", "dvc", "typer", "hdbscan"))))' || \
	{ echo "VENV is empty, and the active Python ($$(command -v python)) lacks the packages: activate an environment made from environment.yml" >&2; exit 1; }

# $(1): the Python to install into. Never as an extra index: pip would take other packages from there too.
define install_torch
@torch=$$(grep '^torch==' requirements.lock) && { \
	{ test -n "$(TORCH_INDEX)" && echo "installing $$torch from $(TORCH_INDEX)" && \
	$(1) -m pip install --no-deps --retries 0 --timeout 5 --index-url "$(TORCH_INDEX)" "$$torch"; } || \
	{ echo "installing the plain build of $$torch"; $(1) -m pip install --no-deps "$$torch"; }; }
endef

ifeq ($(PRESET) $(DEVICE),paper cuda)
# The published scale with every stage, on a GPU: a preset of its own, so that what came of the archives stays as it is.
repro:
	@mkdir -p presets/paper_cuda && cp dvc.yaml presets/paper_cuda/
	@{ sed -E 's,(name: |presets/|corpora/)paper,&_cuda,' presets/paper/params.yaml; echo "device: cuda"; } > presets/paper_cuda/params.yaml
	$(MAKE) repro PRESET=paper_cuda
else
repro: $(STAMP) corpus ## reproduce a preset: make repro [PRESET=laptop] [CORPUS=dir]
	$(BIN)python pipelines/run.py --preset $(PRESET)
	@echo "results: figures/$(PRESET)/ and paper/$(PRESET)/"
	@test ! -e paper/$(PRESET)/index.html || echo "to look at: paper/$(PRESET)/index.html"
endif

# Its results are no stage's outputs: `make repro` neither makes nor waits for them, and the report shows those that are there.
validity: $(STAMP) corpus treebank ## check the claims beyond what the paper shows: make validity [PRESET=laptop] [TREEBANK=dir]
	@test -e $(VALIDITY) || { echo "preset $(PRESET) has no $(VALIDITY): copy that of presets/smoke" >&2; exit 1; }
	$(BIN)python -m dvc --wait-for-lock repro $(VALIDITY)
	@mkdir -p paper/$(PRESET)/validity
	@find paper/$(PRESET)/validity -type f ! -name README.md -delete
	@find runs/$(PRESET)/validity/ -type f \( -name '*.csv' -o -name '*.json' -o -name '*.pdf' -o -name '*.png' \) \
	-exec cp -f {} paper/$(PRESET)/validity/ \;
	@chmod u+w paper/$(PRESET)/validity/*
	@echo "results: paper/$(PRESET)/validity/; make repro PRESET=$(PRESET) puts them into the report"

report: $(STAMP) ## tables, figures and report alone, from results that are there
	@mkdir -p paper/$(PRESET)/validity
	$(BIN)python pipelines/run.py --preset $(PRESET) --report

docs: $(STAMP) ## numbers and tables of README and docs/, from the committed results
	$(BIN)python -m polca.report.documents

verify: $(STAMP) corpus ## run every stage of a preset anew and compare with the committed results, byte for byte
	@git rev-parse --is-inside-work-tree >/dev/null
	$(BIN)python pipelines/run.py --preset $(PRESET) --force
	@changed=$$(git status --porcelain -- $(RESULTS)) && { test -z "$$changed" || \
	{ echo "differs from what is committed:" >&2; echo "$$changed" >&2; git --no-pager diff --stat HEAD -- $(RESULTS) >&2; exit 1; }; }
	@echo "$(RESULTS): the same, byte for byte, as committed"

test: $(STAMP) ## linters, tests, and the smoke preset from nothing, compared byte for byte with the committed results
	$(call timed,linters,$(MAKE) --no-print-directory lint)
	$(call timed,tests and smoke preset,$(BIN)python -m pytest -q -rs -n 2 --dist worksteal -m "not thorough and not slow")

thorough: $(STAMP) ## what CI adds to make test: smoke by DVC, the wheel, pages in a browser, kills, damaged files, seeds
	$(call timed,thorough tests,$(BIN)python -m pytest -q -rs -n 2 --dist worksteal -m thorough)

# $(1): a part of the tests; $(2): its command. Says how long it took.
define timed
@start=$$(date +%s); $(2) || exit; took=$$(($$(date +%s) - start)); echo "$(1): $$((took / 60)) min $$((took % 60)) s"
endef

browser: $(STAMP) ## tests of the pages in Chromium or Chrome, which must be on the path; installs Playwright, then `make thorough` has them too
	$(BIN)python -m pip install -r tests/requirements-browser.txt
	$(BIN)python -m pytest -q -rs tests/*/test_browser*.py

reliability: $(STAMP) ## kills, spoilt files, full disks: a quarter of an hour; writes the table of docs/reliability.md
	$(BIN)python -m pytest -q -n 2 -m "reliability and not few" --junitxml .work/reliability.xml
	$(BIN)python tests/reliability_table.py .work/reliability.xml

bench: $(STAMP) ## speed against the alternatives, ten minutes; benchmarks/requirements.txt says how to have them all
	cd benchmarks && $(if $(BIN),$(abspath $(BIN))/)python speed.py run && $(if $(BIN),$(abspath $(BIN))/)python plot_speed.py

# Text of one's own: presets that read it name this link in tasks.english.data. A link, since the text is nobody's to copy.
corpus:
	@mkdir -p data/corpora paper/$(PRESET)/validity
ifneq ($(CORPUS),)
	@test -d "$(CORPUS)" || { echo "CORPUS=$(CORPUS): no such directory: name one that holds .txt or .txt.gz files" >&2; exit 1; }
	@ln -sfn "$$(cd "$(CORPUS)" && pwd)" data/corpora/$(PRESET)
endif
	@test "$(PRESET)" = paper || ! grep -q "data: data/corpora/$(PRESET)" $(FOLDER)params.yaml || test -d data/corpora/$(PRESET) || \
	{ echo "preset $(PRESET) reads text of yours: make repro PRESET=$(PRESET) CORPUS=<directory of .txt or .txt.gz files>" >&2; exit 1; }

# A Universal Dependencies treebank: validity_treebank reads this link, and says that it skips where there is none.
treebank:
	@mkdir -p data/corpora
ifneq ($(TREEBANK),)
	@test -d "$(TREEBANK)" || { echo "TREEBANK=$(TREEBANK): no such directory: name one that holds .conllu.gz files" >&2; exit 1; }
	@rmdir data/corpora/treebank 2>/dev/null || true
	@ln -sfn "$$(cd "$(TREEBANK)" && pwd)" data/corpora/treebank
endif
	@test -e data/corpora/treebank || mkdir data/corpora/treebank

# DVC follows no links across commits, so every preset has its own copy, but for `paper`, which begins with archives.
pipelines: ## copy dvc.yaml to the other presets, after a change
	@for preset in $(filter-out laptop paper,$(PRESETS)); do cp dvc.yaml presets/$$preset/dvc.yaml; done
	@sed 's#  - ../params.yaml#  - ../../../params.yaml#' presets/smoke/validity/dvc.yaml > presets/laptop/validity/dvc.yaml

lint: $(STAMP) ## ruff and mypy
	$(BIN)python -m ruff check
	$(BIN)python -m ruff format --check
	$(BIN)python -m mypy

format: $(STAMP) ## format, and fix what ruff can fix
	$(BIN)python -m ruff check --fix
	$(BIN)python -m ruff format

# The plain build's CUDA packages and local version suffixes belong to one machine, so they stay out of the lock.
lock: ## resolve requirements.in anew into requirements.lock
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(PYTHON) -m venv "$$work"; \
	torch=$$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.in); \
	{ test -n "$(TORCH_INDEX)" && "$$work/bin/python" -m pip install --no-deps --retries 0 --timeout 5 --index-url "$(TORCH_INDEX)" "$$torch"; } || \
	"$$work/bin/python" -m pip install --no-deps "$$torch"; \
	"$$work/bin/python" -m pip install -r requirements.in; \
	{ echo "# Made by \`make lock\` from requirements.in with $$("$$work/bin/python" --version); do not edit."; \
	"$$work/bin/python" -m pip freeze --all | sed -e '/^\(pip\|wheel\|triton\|nvidia-.*\|cuda-.*\)==/d' -e 's/^\(torch==[^+]*\)+.*/\1/'; } > "$$work/lock"; \
	if grep -vE '^(#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+)$$' "$$work/lock"; then echo "not plain pins: see above" >&2; exit 1; fi; \
	cp "$$work/lock" requirements.lock; git --no-pager diff --stat -- requirements.lock 2>/dev/null || true

clean: ## remove unfinished work and tool caches (results stay)
	rm -rf .work .mypy_cache .pytest_cache .ruff_cache build
	find src tests pipelines benchmarks -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## also remove runs/, DVC's cache and .venv: everything that git does not hold
	rm -rf runs .dvc/cache .dvc/tmp .venv src/*.egg-info
