#!/bin/bash
# Runs every test; `make test` calls this after building the presets dev and release.
#
#   dev       assertions on: unit, kernel and statistics tests
#   release   the same as shipped, and what needs the finished product: command, installation, plug-in inside llama.cpp
#
# VATTN_TEST_HOST=0 leaves out the tests that need llama.cpp and the model (a download and a build of minutes).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=${JOBS:-$(nproc)}

if [ "${VATTN_TEST_HOST:-1}" != 0 ] && compgen -G 'tests/host/test_*.sh' >/dev/null; then
    .venv/bin/python scripts/fetch-assets.py host smollm2 text
    scripts/build-host.sh tools
    scripts/build-driver.sh
fi

ctest --preset dev -j "$jobs" --label-exclude 'host|install'
ctest --preset release -j "$jobs"
