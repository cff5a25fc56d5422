#!/bin/bash
# Next-token distributions of the stock program, and of the plug-in decoding the same tokens one by one (-ub 1).
source tests/host/host.sh
[ -f "$model" ] || skip "no model in $cache"

head -c 9000 "$text" >"$work/text.txt"
perplexity=("$host_bin/llama-perplexity" -m "$model" -f "$work/text.txt" -t "${THREADS:-2}" --kl-divergence-base "$work/base")
"${perplexity[@]}" -c "$((2 * 512))" --chunks 1 -ub 1 -fa on >"$work/base.log" 2>&1 ||
    { tail -n 5 "$work/base.log"; exit 1; }

# check METHOD LARGEST: mean KL divergence from the stock program
check() {
    GGML_BACKEND_PATH=$plugin VATTN_METHOD=$1 VATTN_STATS=$work/stats.json "${perplexity[@]}" --kl-divergence \
        -c "$((2 * 512))" --chunks 1 -ub 1 >"$work/log" 2>&1 || { tail -n 5 "$work/log"; exit 1; }
    mean=$(grep -oP 'Mean +KLD: +\K[-0-9.e]+' "$work/log")
    echo "$1: mean KL divergence $mean, $(stat_of calls) calls"
    [ "$(stat_of calls)" -gt 0 ] || { echo "the plug-in was never called"; exit 1; }
    awk -v mean="$mean" -v largest="$2" 'BEGIN { exit !(mean < largest) }' || { echo "larger than $2"; exit 1; }
}

check exact 0.0002
