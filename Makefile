# make run     serve a demo application over FastCGI and show an answer; Ctrl-C ends it
# make test    the whole suite, behind the real web servers as well, in two processes (JOBS=1: in one);
#              TESTS="tests/core …" for a part, in one
# make test-compiled   the same on the compiled build: what is tested is what pip would install;
# make wheels  the source distribution, and from it the wheels of both builds
# make lint    ruff and mypy
# make bench   what a request costs beside other servers, and CGI beside wsgiref's; 20 minutes
# make bench-quick   its main rows, in under 3 minutes
# make clean   remove what the above made

PYTHON ?= python3
BIN := .venv/bin

SOURCES := $(shell find gateways -name '*.py' -o -name '*.pxd' -o -name '*.pyx') $(shell find contrib -type f)

# The tests wait more than they compute, so two processes share them, a module at a time.
JOBS ?= 2
WHOLE := $(if $(filter-out 1,$(JOBS)),--numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder)

.PHONY: run test test-compiled wheels lint bench bench-quick clean servers

run: .venv/run
	@$(BIN)/python contrib/demo/run.py

test: .venv/test servers
	$(BIN)/python -m pytest $(or $(TESTS),$(WHOLE))

# Where there is no directory gateways/, Python can only import the one that is installed.
test-compiled: .venv-compiled/test servers
	rm -rf .compiled
	mkdir .compiled
	cp -R benchmarks contrib docs tests *.md *.py *.cfg *.toml Makefile .compiled
	cd .compiled && $(CURDIR)/.venv-compiled/bin/python -m pytest $(or $(TESTS),$(WHOLE))

wheels: .venv/test
	rm -rf dist
	$(BIN)/python -m build --sdist --outdir dist .
	GATEWAYS_PURE=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist dist/*.tar.gz
	GATEWAYS_REQUIRE_COMPILED=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist dist/*.tar.gz
	ls dist/*-py3-none-any.whl dist/*-cp*.whl

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test .venv-bench .venv-pure .venv-compiled/test servers
	$(BIN)/python benchmarks/bench.py --output benchmarks/results
	@for build in .venv-pure .venv-compiled; do \
	    [ ! -e $$build ] || $(BIN)/python benchmarks/cgi_bench.py --gateways $$build; \
	done

bench-quick: .venv/test .venv-bench .venv-pure .venv-compiled/test servers
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
	rm -rf .venv .venv-* .compiled build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The web servers that the tests and the benchmarks boot, from the distribution's packages.
servers:
	@.ci/servers

# What to make again when the metadata has changed; each file says that its part is installed.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python setup.cfg pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/test: .venv/bin/python setup.cfg pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	@touch $@ .venv/run

# From the source distribution, so that this holds all that the build needs.
.venv-compiled/test: .venv/test setup.py $(SOURCES)
	$(MAKE) wheels
	$(PYTHON) -m venv --clear .venv-compiled
	.venv-compiled/bin/python -m pip install --quiet "$$(ls dist/*-cp*.whl)[test]"
	@touch $@
