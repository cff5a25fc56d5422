# The front door; CMake does the work. Two commands matter: `make test` and `make run`.
#
#   make            build the library, the plug-in and the command       (build/release)
#   make test       install what is missing, build twice, run every test
#   make run        the demo: MODEL= TEXT= NPROMPT= NDECODE= EPS= DELTA= THREADS= KVTYPE=
#   make shape      the widths of Llama-3.1-8B with random weights, over 32k and 128k rows: COPIES='8 32' NDECODE= EPS= DELTA= THREADS=
#   make cheats     planted cheats, and the case of the laboratory that catches each
#   make hub        how often the vAttention paper's methods miss: CAPTURES='a.safetensors ...' -> docs/results/hub.md
#   make methods    error against bytes read, of every method: CAPTURES='a.safetensors ...' -> docs/results/methods.md, .csv, plots
#   make coverage   is the promise kept, for every delta, eps and scope: CAPTURES='a.safetensors ...' -> docs/results/coverage.md, .csv
#   make bench      time against keys, eps and what memory allows, beside llama.cpp's attention -> docs/results/bench.md, .json, plots
#   make install    PREFIX=/usr/local DESTDIR=
#   make clean      remove build/ (downloads stay in .cache/; `make distclean` removes them and .venv/ too)

JOBS   ?= $(shell nproc)
PREFIX ?= /usr/local

# Variables of the demo, handed over when given.
export MODEL TEXT NPROMPT NDECODE EPS DELTA THREADS KVTYPE VATTN_CACHE JOBS

.PHONY: all deps release dev test check run shape cheats hub methods coverage bench install clean distclean help

all: release

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

deps:
	@scripts/install-deps.sh

# A build tree remembers its options, so configuring again is cheap and always right.
release dev: deps
	@cmake --preset $@ >build-$@.log 2>&1 || { cat build-$@.log; exit 1; }; rm -f build-$@.log
	@cmake --build --preset $@ -j $(JOBS)

test: release dev
	@scripts/run-tests.sh

cheats: release
	@VATTN_BUILD=build/release tests/cheats/test_cheats.sh

hub: release
	@scripts/hub-table.py $(CAPTURES)

methods: release
	@.venv/bin/python scripts/methods-table.py $(CAPTURES)

coverage: release
	@.venv/bin/python scripts/coverage-table.py $(CAPTURES)

bench: release
	@.venv/bin/python scripts/fetch-assets.py host
	@scripts/build-host.sh lib
	@scripts/build-driver.sh
	@.venv/bin/python scripts/bench-figures.py $(BENCHFLAGS)

run: release
	@scripts/run-demo.sh

shape: release
	@scripts/run-shape.sh $(COPIES)

install: release
	@cmake -DCMAKE_INSTALL_PREFIX=$(PREFIX) build/release >/dev/null
	@cmake --install build/release

clean:
	rm -rf build

distclean: clean
	rm -rf .cache .venv
