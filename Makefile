# `make demo` and `make test` need Python 3.10 or newer, make and a C++ compiler, nothing else: all the rest comes
# from PyPI into .venv, and the Conductor server from Maven Central into the user's Maven cache.
# PYTHON=python3.12 chooses the interpreter that .venv is made with; delete .venv to change it later.

PYTHON ?= python3
VENV   := .venv
BIN    := $(abspath $(VENV))/bin

# The compiled module and the stubs are made anew when one of these changes; Python files need no build.
BUILD_INPUTS := pyproject.toml CMakeLists.txt $(shell find proto cpp -type f -not -path 'cpp/tests/*')
PIP          := $(VENV)/.pip
INSTALLED    := $(VENV)/.installed
SERVER       := $(VENV)/.server
TOOLS        := $(VENV)/.tools

# ctest writes its output here, too: `make test` repeats its closing lines at the end.
PLAIN_LOG     := $(abspath build)/ctest-plain.log
SANITIZED_LOG := $(abspath build)/ctest-sanitized.log

# cmake and ninja of the virtual environment.
WITH_TOOLS := PATH="$(BIN):$$PATH" CMAKE_GENERATOR=Ninja

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help install demo test lint tidy ctest ctest-sanitized pytest coverage bench faults simulate clean

help:
	@echo "make demo      the two example workflows on an embedded server, both run to COMPLETED, each step shown"
	@echo "make test      C++ tests (plain, then under sanitizers with a short fuzz run), lint, all Python tests"
	@echo "make coverage  the Python tests under coverage, with a report here and in htmlcov/"
	@echo "make lint      ruff, mypy --strict, clang-tidy"
	@echo "make bench     tasks per second and client CPU per task, beside other clients"
	@echo "make faults    what breaks, made to break on a real server: lost, stranded and repeated tasks in a table"
	@echo "make simulate  10,000 schedules of the poll and ack loop against a simulated server, in half a minute"
	@echo "make install   the virtual environment $(VENV) with the package and its test tools"
	@echo "make clean     removes $(VENV) and everything that was built or measured"

# -- set-up --

install: $(INSTALLED) $(TOOLS) $(SERVER)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no $(PYTHON) here. Install Python 3.10 or newer, or say where it is: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "make: $(PYTHON) is $$($(PYTHON) --version), 3.10 or newer is needed: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A step of its own, for a .venv that somebody else made: `--group` needs this pip.
$(PIP): | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(INSTALLED): $(BUILD_INPUTS) | $(PIP)
	@command -v "$${CXX:-c++}" >/dev/null || { \
	  echo "make: no C++ compiler ($${CXX:-c++}). On Debian and Ubuntu: apt-get install g++"; exit 1; }
	$(BIN)/python -m pip install --quiet --editable '.[cli]'
	@touch $@

# Java and what fetches the real server: the tests need them, the demo does not.
$(SERVER): $(INSTALLED)
	$(BIN)/python -m pip install --quiet 'conductor-grpc-client[server]'
	@touch $@

$(TOOLS): pyproject.toml | $(PIP)
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# -- what one wants to see --

demo: $(INSTALLED)
	$(BIN)/conductor-grpc demo

test: ctest ctest-sanitized lint pytest
	@grep -h 'tests passed' $(PLAIN_LOG) $(SANITIZED_LOG)

# -- the parts of it --

ctest: $(TOOLS)
	$(WITH_TOOLS) cmake --preset tests
	$(WITH_TOOLS) cmake --build --preset tests
	$(WITH_TOOLS) ctest --preset tests --output-log $(PLAIN_LOG)

ctest-sanitized: $(TOOLS)
	$(WITH_TOOLS) cmake --preset sanitize
	$(WITH_TOOLS) cmake --build --preset sanitize
	$(WITH_TOOLS) ctest --preset sanitize --output-log $(SANITIZED_LOG)

lint: $(INSTALLED) $(TOOLS) $(SERVER) tidy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --package conductor_grpc
	MYPYPATH=examples:src $(BIN)/mypy examples/main.py examples/workers/*.py examples/migration/*.py examples/tests/*.py

tidy: $(TOOLS)
	$(WITH_TOOLS) cmake --preset tidy -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)" \
	  -DPython_EXECUTABLE=$(BIN)/python
	$(WITH_TOOLS) cmake --build --preset tidy --target _core cancellable fuzz_decode

pytest: $(INSTALLED) $(TOOLS) $(SERVER)
	$(BIN)/coverage run -m pytest

coverage: pytest
	$(BIN)/coverage report
	$(BIN)/coverage html
	@echo "also as pages: htmlcov/index.html"

bench: $(INSTALLED) $(TOOLS) $(SERVER)
	$(BIN)/python -m benchmarks

# FAULTS="--tasks 300 --row reset --server redis" chooses; --help tells more.
simulate: $(INSTALLED) $(TOOLS)
	PYTHONPATH=tests $(BIN)/python -m simulation --schedules 10000

faults: $(INSTALLED) $(TOOLS) $(SERVER)
	PYTHONPATH=tests:tests/contract $(BIN)/python -m faults $(FAULTS)

clean:
	rm -rf $(VENV) build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src \( -name '*_pb2*.py' -o -name '*_pb2*.pyi' \) -delete
