#!/bin/bash
# Rows of f16, bf16 and q8_0 as the library writes them are those of the host's CPU backend.  Its code differs from processor to processor
# in the rounding of ties of q8_0; ours follows the one for AVX2.
source tests/host/host.sh
grep -qw avx2 /proc/cpuinfo || skip "a processor without AVX2"

library=$(find "$build" -name libvattn.a -print -quit)
host=$(realpath "$cache")/host
"${CC:-cc}" -std=gnu11 -O1 -Wall -Wextra -isystem "$host/llama.cpp/ggml/include" -Iinclude tests/host/row_bits.c -o "$work/row_bits" \
    "$library" -L"$host/build/bin" -lggml-cpu -lggml-base -Wl,-rpath,"$host/build/bin" -lm
"$work/row_bits"
