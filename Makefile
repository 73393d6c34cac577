# Set-up, checks and the demonstration. Everything is installed in .venv, .venv-oldest and .venv-newest.
PYTHON ?= python3
RUN := .venv/bin/python
PIP = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check
CPU_INDEX := https://download.pytorch.org/whl/cpu
CORE := tests/test_project.py tests/test_pyro_models tests/test_inference tests/test_scripts
# so many processes of one thread share out the test files; WORKERS=0 is one process that pytest runs in itself
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist loadfile
# an environment with the CPU build of torch keeps it
TORCH ?= $(if $(wildcard .venv/.torch-cpu),cpu)
$(if $(filter-out cpu,$(TORCH)),$(error TORCH=$(TORCH) is unknown: use TORCH=cpu for the CPU build of torch, or leave it out))

.PHONY: install test test-oldest test-newest demo docs exercise bench growth mutate lint clean help FORCE

help:
	@echo "make install      set up .venv; with TORCH=cpu, the CPU build of torch"
	@echo "make test         lint (ruff, mypy, import-linter), examples in docstrings, tests; WORKERS=4 runs four at a time"
	@echo "make test-oldest  the core tests and the demo with the oldest supported dependencies, in .venv-oldest"
	@echo "make test-newest  the same with the newest dependencies, in .venv-newest"
	@echo "make demo         train, evaluate and report on the digits of scikit-learn"
	@echo "make docs         build the site in docs/_build/html; its notebooks run, and warnings are errors"
	@echo "make exercise     write the student's version of the exercise in tutorial/exercise/_build/release"
	@echo "make bench        time this project against others; writes results/bench.json"
	@echo "make growth       time and memory against the size of the work; writes results/growth.json and growth.png"
	@echo "make mutate       break the code in one place after another; the tests must notice"

install: .venv/.installed

ENVIRONMENTS := .venv .venv-oldest .venv-newest
.venv/%: PINS := -c constraints.txt
.venv-oldest/%: PINS := -c constraints-oldest.txt
.venv-newest/%: PINS := --upgrade --upgrade-strategy eager
.venv-newest/.installed .venv-newest/.torch-cpu: FORCE

$(ENVIRONMENTS:%=%/.installed): %/.installed: pyproject.toml constraints.txt constraints-oldest.txt \
		$(if $(TORCH),%/.torch-cpu) | %/bin/python
	@[ -n "$(TORCH)" ] || [ -e $@ ] || [ "$$(uname -sm)" != "Linux x86_64" ] || nvidia-smi -L >/dev/null 2>&1 || \
		echo "No NVIDIA GPU found: torch from PyPI brings gigabytes of CUDA; make install TORCH=cpu does not"
	$(PIP) $(PINS) -e '.[dev,hub,tensorboard]'
	@touch $@

# only torch itself; its dependencies come from PyPI afterwards
$(ENVIRONMENTS:%=%/.torch-cpu): %/.torch-cpu: constraints.txt constraints-oldest.txt | %/bin/python
	@echo "torch from $(CPU_INDEX)"
	@$(PIP) $(PINS) --upgrade --no-deps --timeout 10 --retries 1 --index-url $(CPU_INDEX) torch torchvision || { \
		echo "no CPU build of torch from $(CPU_INDEX): is it reachable, and does it have this version for your Python?" \
			"make install TORCH= installs torch from PyPI"; exit 1; }
	@touch $@

$(ENVIRONMENTS:%=%/bin/python): %/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make install PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $*

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports --no-logo

test: lint
	$(PYTEST) --doctest-modules pyro_models inference
	$(PYTEST)

test-oldest test-newest: test-%: .venv-%/.installed
	.venv-$*/bin/python -m pytest $(CORE)
	cd .venv-$* && bin/python ../scripts/demo.py

demo: install
	$(RUN) scripts/demo.py

docs: install
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(RUN) -m sphinx -q -W --keep-going -c docs -d docs/_build/doctrees . docs/_build/html
	@echo "docs/_build/html/index.html"

exercise: install
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[exercise]'
	$(RUN) tutorial/exercise/build.py

# libraries that cannot be installed are skipped with a message
bench: install
	-$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(RUN) benchmarks/run.py

growth: install
	$(RUN) benchmarks/growth.py

# takes some minutes
mutate: install
	$(RUN) tools/mutate.py

clean:
	rm -rf .venv .venv-oldest .venv-newest demo report docs/_build tutorial/exercise/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
