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
