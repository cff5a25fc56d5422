#!/bin/bash
# Decodes a real model over a long context, stock and with the plug-in, and prints the table. `make run` calls this.
#
# Environment: MODEL (any GGUF), TEXT (any text file), NPROMPT, NDECODE, EPS, DELTA, THREADS, VATTN_CACHE,
# KVTYPE (of the cache: f32, f16, bf16, q8_0, or two of them with a comma; the host has no quantised values without fused attention).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${VATTN_CACHE:-$PWD/.cache}
export VATTN_CACHE=$cache
prompt=${NPROMPT:-7000}
decode=${NDECODE:-64}
eps=${EPS:-0.05}
delta=${DELTA:-0.05}
threads=${THREADS:-$(nproc)}
out=build/demo
mkdir -p "$out"

say() { echo "demo: $*"; }

targets=(host)
[ -n "${MODEL:-}" ] || targets+=(smollm2)
[ -n "${TEXT:-}" ] || targets+=(text)
.venv/bin/python scripts/fetch-assets.py "${targets[@]}"
model=${MODEL:-$cache/models/SmolLM2-135M-Instruct.Q4_1.gguf}
text=${TEXT:-$cache/texts/pride-and-prejudice.txt}
for file in "$model" "$text"; do
    [ -r "$file" ] || {
        echo "demo: cannot read '$file'; MODEL takes a GGUF file, TEXT a plain text file" >&2
        exit 2
    }
done

scripts/build-host.sh lib
scripts/build-driver.sh

# Old results must not pass for new ones.
rm -f "$out"/*.json "$out"/*.logits

driver=(build/demo-driver/vattn-demo -m "$model" -f "$text" -o "$out" -p "$prompt" -n "$decode" -t "$threads" -k "${KVTYPE:-f16}")

# The stock runs know nothing of the plug-in, whatever the caller's environment says.
stock=(stock-fa-on stock-fa-off)
[[ ${KVTYPE:-f16} != *q8_0 ]] || stock=(stock-fa-on)
for mode in "${stock[@]}"; do
    say "$mode: $prompt tokens of prompt, then $decode decoded"
    env -u GGML_BACKEND_PATH "${driver[@]}" "$mode"
done

plugin=$(find "$PWD/build/release" -name libggml-vattn.so -print -quit)
if [ -n "$plugin" ]; then
    say "exact and sparse, with the plug-in (eps $eps, delta $delta)"
    GGML_BACKEND_PATH=$plugin VATTN_METHOD=sparse VATTN_EPS=$eps VATTN_DELTA=$delta "${driver[@]}" exact sparse
else
    say "build/release holds no libggml-vattn.so: stock modes only"
fi

.venv/bin/python demo/report.py "$out" build/demo.json --eps "$eps" --delta "$delta"
