#!/bin/bash
# A tiny random model of every architecture that the host knows, with the plug-in loaded, against the CPU backend.
source tests/host/host.sh

"${CC:-cc}" -shared -fPIC tests/host/preload_backends.c -o "$work/preload.so" -ldl
if ! GGML_BACKEND_PATH=$plugin VATTN_METHOD=exact LD_PRELOAD=$work/preload.so \
    "$host_bin/test-llama-archs" -b VATTN >"$work/log" 2>&1; then
    grep -E 'FAIL|rror' "$work/log" | head -n 20
    tail -n 5 "$work/log"
    exit 1
fi
tail -n 3 "$work/log"
