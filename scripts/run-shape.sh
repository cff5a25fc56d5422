#!/bin/bash
# Decodes a model with the widths of Llama-3.1-8B, two layers and random weights over 32k and 128k rows, stock and with the plug-in, and
# prints a table for each. `make shape` calls this; docs/performance.md says what the figures mean.
#
#   scripts/run-shape.sh [COPIES...]      default 8 32: so many copies of a prompt of 4,096 tokens
#
# Environment: NDECODE, EPS, DELTA, THREADS, VATTN_CACHE. Three minutes on two cores and 2 GB of memory once the host is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${VATTN_CACHE:-$PWD/.cache}
export VATTN_CACHE=$cache
decode=${NDECODE:-24}
eps=${EPS:-0.05}
delta=${DELTA:-0.05}
threads=${THREADS:-$(nproc)}
prompt=4096
[ $# -gt 0 ] || set -- 8 32

say() { echo "shape: $*"; }

.venv/bin/python scripts/fetch-assets.py host
scripts/build-host.sh lib
scripts/build-driver.sh
paths=$(.venv/bin/python scripts/make-shape.py)
mapfile -t files <<<"$paths" # the model, the text
plugin=$(find "$PWD/build/release" -name libggml-vattn.so -print -quit)
[ -n "$plugin" ] || {
    echo "shape: build/release holds no libggml-vattn.so; run make first" >&2
    exit 2
}

measure() { # COPIES
    local out=build/shape/$1 mode
    mkdir -p "$out"
    rm -f "$out"/*.json "$out"/*.logits # old results must not pass for new ones
    local driver=(build/demo-driver/vattn-demo -m "${files[0]}" -f "${files[1]}" -o "$out" -p "$prompt" -c "$1" -n "$decode" -t "$threads")
    for mode in stock-fa-on stock-fa-off; do
        say "$mode: $prompt tokens of prompt, $1 times, then $decode decoded"
        env -u GGML_BACKEND_PATH "${driver[@]}" "$mode"
    done
    say "exact and sparse, with the plug-in (eps $eps, delta $delta)"
    GGML_BACKEND_PATH=$plugin VATTN_METHOD=sparse VATTN_EPS=$eps VATTN_DELTA=$delta "${driver[@]}" exact sparse
    .venv/bin/python demo/report.py "$out" "build/shape-$((prompt * $1)).json" --eps "$eps" --delta "$delta" --times
}

for copies in "$@"; do
    measure "$copies"
done
