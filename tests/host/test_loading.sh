#!/bin/bash
# The plug-in in a program as users start it: what it takes with default flags, how it is turned off, what it says when it cannot
# work, and that the program goes on in every case.
source tests/host/host.sh
[ -f "$model" ] || skip "no model in $cache"

"${CC:-cc}" -shared -fPIC tests/host/other_version.c -o "$work/other_version.so"
export GGML_BACKEND_PATH=$plugin

# run NAME VARIABLE=VALUE...: a short completion; log in $work/NAME.log, answer in $work/NAME.txt, statistics in $work/stats.json
run() {
    local name=$1
    shift
    rm -f "$work/stats.json"
    env VATTN_STATS="$work/stats.json" "$@" "$host_bin/llama-completion" -m "$model" -p "The capital of France is" -n 12 \
        -c 1024 --temp 0 -no-cnv -t "${THREADS:-2}" >"$work/$name.txt" 2>"$work/$name.log" </dev/null ||
        { tail -n 20 "$work/$name.log"; echo "FAILED: $name: the program did not go on"; exit 1; }
    grep -q Paris "$work/$name.txt" || { cat "$work/$name.txt"; echo "FAILED: $name: no answer"; exit 1; }
}

expect() {
    echo "$1"
    shift
    "$@" || { echo "FAILED: $*"; exit 1; }
}

run default
expect "default flags (-fa auto): attention is ours" test "$(stat_of calls)" -gt 0
expect "nothing went back to the CPU backend" test "$(stat_of handed_over)" -eq 0
expect "silent" test "$(grep -c '^vattn' "$work/default.log")" -eq 0
run off VATTN_OFF=1
expect "VATTN_OFF=1: nothing is ours" test "$(stat_of calls)" -eq 0
run exact VATTN_METHOD=exact
expect "short contexts: exact and sparse are the same" diff "$work/default.txt" "$work/exact.txt"
run version LD_PRELOAD="$work/other_version.so"
expect "another ggml version: one line" test "$(grep -c '^vattn: not loaded: .*0\.26\.1' "$work/version.log")" -eq 1
for wrong in VATTN_METHOD=quick VATTN_EPS=2 VATTN_EPS=5% VATTN_DELTA=0 VATTN_SCOPE=model VATTN_SEED=-1 VATTN_DISABLE_CPU=sse9 \
    VATTN_OFF=yes VATTN_CAPTURE_STEPS=0; do
    run wrong "$wrong"
    expect "$wrong: one line" test "$(grep -c "^vattn: $wrong " "$work/wrong.log")" -eq 1
    expect "$wrong: nothing is ours" test "$(stat_of calls)" -eq 0
done
run paragraph VATTN_STATS=-
expect "VATTN_STATS=-: a paragraph" grep -q '^vattn: method sparse' "$work/paragraph.log"
