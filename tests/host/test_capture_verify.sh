#!/bin/bash
# Captures real queries and keys out of an unmodified llama-completion, then puts the promise to the test on them.
source tests/host/host.sh

vattn=$build/tools/vattn
[ -x "$vattn" ] || skip "no vattn command in $build"

head -c 16000 "$text" >"$work/prompt.txt"
"$vattn" capture -o "$work/capture" --steps 6 -- "$host_bin/llama-completion" -m "$model" -f "$work/prompt.txt" -c 8192 -n 8 \
    --temp 0 -no-cnv --no-warmup -fa on >"$work/log" 2>&1 </dev/null || { tail -n 20 "$work/log"; exit 1; }
ls "$work/capture"

captures=()
for layer in 00 06 12 18 24; do
    captures+=("$work/capture/layer$layer.safetensors")
done
"$vattn" verify "${captures[@]}" --draws 1000 --json "$work/verify.json"

# A cache of q8_0 is captured in f16, and other rows than those of an f16 cache.
"$vattn" capture -o "$work/quantised" --steps 6 -- "$host_bin/llama-completion" -m "$model" -f "$work/prompt.txt" -c 8192 -n 8 \
    --temp 0 -no-cnv --no-warmup -fa on -ctk q8_0 -ctv q8_0 >"$work/log" 2>&1 </dev/null || { tail -n 20 "$work/log"; exit 1; }
! cmp -s "$work/quantised/layer06.safetensors" "$work/capture/layer06.safetensors" || { echo "the cache was not quantised"; exit 1; }
"$vattn" verify "$work/quantised/layer06.safetensors" --draws 500 --kv-type q8_0
