#!/bin/bash
# A tiny random model of every architecture that the host knows, with the plug-in loaded, against the CPU backend.  Their caches are so
# small and their batches so long that normal rules would leave everything to the host: VATTN_TEST_CLAIM_ALL lifts them.
#
# The program draws its models from a random seed unless it is given one, and compares two backends that round differently: a
# model whose experts are chosen by a near tie can differ.  With a seed, what passes today passes tomorrow.  The verdict is its
# exit code: its log is written by a thread of its own, and the last lines are lost when it ends in one of seven runs.
source tests/host/host.sh

"${CC:-cc}" -shared -fPIC tests/host/preload_backends.c -o "$work/preload.so" -ldl
if ! GGML_BACKEND_PATH=$plugin VATTN_METHOD=exact VATTN_TEST_CLAIM_ALL=1 VATTN_STATS=$work/stats.json \
    LD_PRELOAD=$work/preload.so "$host_bin/test-llama-archs" -b VATTN -s 1 >"$work/log" 2>&1; then
    grep -aE 'FAIL|rror' "$work/log" | head -n 20 || true
    tail -n 5 "$work/log"
    exit 1
fi
checked=$(grep -a 'libvattn' "$work/log" | grep -ac 'OK') || true
echo "models that agree with the CPU backend, as far as the log goes: $checked"
[ "$checked" -gt 100 ] || { echo "hardly any model was compared"; exit 1; }
echo "attention calls answered by the plug-in: $(stat_of calls)"
[ "$(stat_of calls)" -gt 0 ] || { echo "the plug-in was never called"; exit 1; }
