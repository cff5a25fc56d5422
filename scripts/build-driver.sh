#!/bin/bash
# Builds the demo's driver and the peer of `vattn bench` against the host tree of the cache (see build-host.sh):
# build/demo-driver/vattn-demo and vattn-peer-ggml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

host=$(realpath "${VATTN_CACHE:-.cache}")/host
log=build/demo-driver.log
mkdir -p build
if ! { cmake -S demo -B build/demo-driver -G Ninja -DHOST_SOURCE="$host/llama.cpp" -DHOST_BUILD="$host/build" &&
    cmake --build build/demo-driver; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "build-driver: failed; run scripts/build-host.sh lib first" >&2
    exit 1
fi
