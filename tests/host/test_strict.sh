#!/bin/bash
# Strict mode in a program as users start it: `vattn run --method sparse-strict` builds strict's index, answers heads from samples that
# are certified, and leaves nothing to the CPU backend.  A method with a high number must find its plan, too.
source tests/host/host.sh
[ -f "$model" ] || skip "no model in $cache"
export VATTN_PLUGIN=$plugin

# run METHOD PROMPT-BYTES TOKENS: statistics in $work/stats.json
run() {
    head -c "$2" "$text" >"$work/prompt.txt"
    "$build/tools/vattn" run --method "$1" --eps 0.2 --stats "$work/stats.json" -- "$host_bin/llama-completion" -m "$model" \
        -f "$work/prompt.txt" -n "$3" -c 2048 --temp 0 -no-cnv -t "${THREADS:-2}" >"$work/out" 2>"$work/log" </dev/null ||
        { tail -n 20 "$work/log"; echo "FAILED: $1: the program did not go on"; exit 1; }
    grep -q "\"method\": \"$1\"" "$work/stats.json" || { echo "FAILED: $1 is not the method"; exit 1; }
    [ "$(stat_of calls)" -gt 0 ] || { echo "FAILED: $1 was never called"; exit 1; }
    [ "$(stat_of handed_over)" -eq 0 ] || { echo "FAILED: $1: decoding went to the CPU backend"; exit 1; }
}

run uniform 300 2
run sparse-strict 4300 4
echo "sparse-strict: $(stat_of calls) calls, $(stat_of certified) heads certified, $(stat_of exact) exact, rows $(stat_of rows_kv_fraction)"
[ "$(stat_of certified)" -gt 100 ] || { echo "FAILED: no heads were answered from samples"; exit 1; }
[ "$(stat_of uncertified)" -eq 0 ] || { echo "FAILED: uncertified answers"; exit 1; }
