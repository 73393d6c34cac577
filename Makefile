# Set-up, checks and the demonstration. Everything happens in .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: install test demo bench mutate lint clean help

help:
	@echo "make install   set up .venv"
	@echo "make test      ruff, mypy and pytest"
	@echo "make demo      train, evaluate and report on scikit-learn's digits"
	@echo "make bench     time this project beside others, into results/bench.json"
	@echo "make mutate    break the software in one place after another; the tests must notice"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make install PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,tensorboard]'
	@touch $@

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest

demo: install
	$(RUN) scripts/demo.py

# the others are installed where they can be; what is missing is left out, with a word
bench: install
	-$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(RUN) benchmarks/run.py

# the tests must notice every break: some minutes
mutate: install
	$(RUN) tests/mutate.py

clean:
	rm -rf $(VENV) demo report *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
