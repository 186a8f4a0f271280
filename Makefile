# make run     serve a demo application over FastCGI and show an answer; Ctrl-C ends it
# make test    the whole suite, behind the real web servers as well
# make lint    ruff and mypy
# make bench   what a request costs beside other servers, and CGI beside wsgiref's; 20 minutes
# make bench-quick   its main rows, in under 3 minutes
# make clean   remove what the above made

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint bench bench-quick clean servers

run: .venv/run
	@$(BIN)/python contrib/demo/run.py

test: .venv/test servers
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test .venv-bench .venv-pure servers
	$(BIN)/python benchmarks/bench.py --output benchmarks/results
	@for build in .venv-pure .venv-compiled; do \
	    [ ! -e $$build ] || $(BIN)/python benchmarks/cgi_bench.py --gateways $$build; \
	done

bench-quick: .venv/test .venv-bench .venv-pure servers
	$(BIN)/python benchmarks/bench.py --quick

# The peers, one by one: without one of them the others are measured all the same.
.venv-bench: benchmarks/requirements.txt
	$(PYTHON) -m venv $@
	@grep -v '^#' $< | while read -r peer; do \
	    $@/bin/python -m pip install --quiet "$$peer" || echo "$$peer cannot be installed"; \
	done
	@touch $@

# As users install it: the finder of an editable installation would count at every start.
.venv-pure: setup.cfg pyproject.toml $(shell find gateways -name '*.py')
	$(PYTHON) -m venv $@
	@rm -rf build # setuptools would install what lies there, however old
	@GATEWAYS_PURE=1 $@/bin/python -m pip install --quiet --force-reinstall '.[http]'
	@touch $@

clean:
	rm -rf .venv .venv-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
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
