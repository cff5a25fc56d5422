#!/bin/bash
# Next-token distributions with the plug-in decoding token by token (-ub 1), against the stock program.  The yardstick is the stock
# program itself, with the prompt in one batch: weights of 4 bits make a few thousandths of divergence out of any rounding.
source tests/host/host.sh
[ -f "$model" ] || skip "no model in $cache"

head -c 9000 "$text" >"$work/text.txt"
perplexity=("$host_bin/llama-perplexity" -m "$model" -f "$work/text.txt" -t "${THREADS:-2}" -c 512 --chunks 1
    --kl-divergence-base "$work/base")

run() {
    "${perplexity[@]}" "$@" >"$work/log" 2>&1 || { tail -n 5 "$work/log"; exit 1; }
}

mean_divergence() {
    grep -oP 'Mean +KLD: +\K[-0-9.e]+' "$work/log"
}

run -ub 1 -fa on
run --kl-divergence -ub 512 -fa on
stock=$(mean_divergence)
export GGML_BACKEND_PATH=$plugin VATTN_STATS=$work/stats.json
VATTN_METHOD=exact run --kl-divergence -ub 1
ours=$(mean_divergence)
echo "mean KL divergence from the stock program: $ours with the plug-in (exact, $(stat_of calls) calls), $stock of its own"
[ "$(stat_of calls)" -gt 0 ] || { echo "the plug-in was never called"; exit 1; }
awk -v ours="$ours" -v stock="$stock" 'BEGIN { exit !(ours < 2 * stock + 1e-5) }' || { echo "too far"; exit 1; }
