#!/bin/bash
# Roll-back, context shift, state restore, copies between streams...: the index never covers a row that has changed.
source tests/host/host.sh
[ -f "$model" ] || skip "no model in $cache"

host=$(realpath "$cache")/host
"${CC:-cc}" -std=gnu11 -O1 -Wall -Wextra -isystem "$host/llama.cpp/include" -isystem "$host/llama.cpp/ggml/include" \
    tests/host/cache_events.c -o "$work/cache_events" -L"$host/build/bin" -lllama -lggml -lggml-base \
    -Wl,-rpath,"$host/build/bin"
model=$(realpath "$model") text=$(realpath "$text")
cd "$host/build/bin" # the host looks for its CPU backend here
for type in f16 q8_0; do
    echo "$type:"
    GGML_BACKEND_PATH=$plugin VATTN_METHOD=sparse VATTN_TEST_VALIDATE=1 "$work/cache_events" "$model" "$text" "${THREADS:-2}" $type
done
