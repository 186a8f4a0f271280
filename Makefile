# make run     serve a demo application over FastCGI and show an answer; Ctrl-C ends it
# make test    the whole suite, behind the real web servers as well
# make lint    ruff and mypy
# make bench   the cost of a request, beside flup's, and of CGI behind Apache, beside wsgiref's
# make clean   remove what the above made

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint bench clean servers

run: .venv/run
	@$(BIN)/python contrib/demo/run.py

test: .venv/test servers
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test servers
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/cgi_bench.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The web servers that the tests and the benchmarks boot, from the distribution's packages.
servers:
	@.ci/servers

# What to make again when the metadata has changed; each file says that its part is installed.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/test: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	@touch $@ .venv/run
