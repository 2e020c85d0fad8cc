# Every daily command. `make demo` and `make test` set .venv up themselves.
PYTHON ?= python3
# On x86-64 PyPI's torch brings gigabytes of CUDA: TORCH_INDEX names another index, such as PyTorch's own of
# CPU builds. An empty TORCH takes whatever torch the extras ask for.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.edgehff-setup
C_FILES := $(shell find firmware_bridge/core firmware_bridge/link firmware_bridge/ports firmware_bridge/plugin tests/c tests/fuzz -name '*.[ch]')

# cmake, ninja and the linters come from .venv
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) ## build the C core and install edgehff with its tools into .venv

$(STAMP): pyproject.toml CMakeLists.txt firmware_bridge/core/CMakeLists.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(if $(TORCH),$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)")
	$(BIN)/pip install --quiet "scikit-build-core>=1.0" "cffi>=2.0" "ninja>=1.11" "cmake>=3.20"
	$(BIN)/pip install --quiet --no-build-isolation -Ceditable.rebuild=true -Ceditable.verbose=false \
	    -Cbuild-dir=build/editable -e ".[dev]"
	@touch $@

.PHONY: demo
demo: $(STAMP) ## one model from float to a person to stock runtimes; then figures over people
	$(BIN)/edgehff demo

.PHONY: test
test: $(STAMP) lint ## lint, then every test but the slow ones
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" $(PYTEST_FLAGS)

.PHONY: test-all
test-all: $(STAMP) lint ## every test, the slow ones too
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_FLAGS)

.PHONY: lint
lint: $(STAMP) ## formatting, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## bring Python and C into the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

.PHONY: arm
arm: $(STAMP) ## a session in an emulated arm64 Debian within 256 MB: the same bits; downloads 50 MB
	tools/arm64.sh

.PHONY: simulators
simulators: $(STAMP) ## environments of other groups' spiking simulators, 6 GB, for `edgehff spike verify`
	$(BIN)/python tools/simulators/install.py

.PHONY: engines
engines: $(STAMP) ## chips' engines for `edgehff export`: their licences are their makers'
	$(BIN)/python tools/simulators/install.py akida spinnaker xylo

.PHONY: vectors
vectors: $(STAMP) ## make the golden vectors again, from the oracle
	$(BIN)/python tools/make_vectors.py

.PHONY: mutants
mutants: $(STAMP) ## break the C core in many ways, and see the tests go red
	$(BIN)/python tools/mutants.py

.PHONY: fuzz
fuzz: $(STAMP) ## fuzz what a board reads, ten minutes a target (clang)
	$(BIN)/python tools/fuzz.py run frame --seconds 600 --keep
	$(BIN)/python tools/fuzz.py run link --seconds 600 --keep
	$(BIN)/python tools/fuzz.py run blob --seconds 600 --keep

.PHONY: figures
figures: $(STAMP) ## measure every figure of the documentation again (about ten minutes)
	$(BIN)/edgehff demo
	$(BIN)/edgehff bench personalize models/emg-gestures/recipe.toml
	$(BIN)/edgehff bench core
	$(BIN)/edgehff bench file models/emg-gestures/model.safetensors

.PHONY: wheel
wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/pip wheel --no-deps --wheel-dir dist .

.PHONY: clean
clean: ## remove what was built, .venv too
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
