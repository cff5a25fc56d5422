#!/bin/bash
# One compiler line over all sources builds the library: no per-file flags, no generated headers.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mapfile -t sources < <(find src -name '*.c')
"${CC:-cc}" -O1 -Iinclude -Isrc -fPIC -shared "${sources[@]}" -o "$work/libvattn.so" -llapacke -lm
"${CC:-cc}" -Iinclude tests/install/consumer/consumer.c "$work/libvattn.so" -o "$work/consumer" -lm
LD_LIBRARY_PATH=$work "$work/consumer"
