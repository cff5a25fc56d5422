#!/bin/bash
# The host's own operator tests, with the plug-in as the device under test: whatever it claims must agree with the CPU backend
# within the host's tolerance.  VATTN_TEST_CLAIM_ALL: the tensors of these tests are no cache, claim them all the same.
#
# ATTENTION_CASES selects (default: one query a sequence; '' = all of them, some minutes).
source tests/host/host.sh

"${CC:-cc}" -shared -fPIC tests/host/plain_masks.c -o "$work/plain_masks.so" -ldl
export GGML_BACKEND_PATH=$plugin VATTN_TEST_CLAIM_ALL=1 VATTN_METHOD=exact VATTN_STATS=$work/stats.json

# check NAME OPTIONS...: every case that the plug-in claims passes, and there are some
check() {
    local name=$1 claimed
    shift
    if ! LD_PRELOAD=$work/plain_masks.so "$host_bin/test-backend-ops" test -b VATTN -o "$name" "$@" >"$work/log" 2>&1; then
        grep FAIL "$work/log" | head -n 20
        tail -n 5 "$work/log"
        exit 1
    fi
    claimed=$(grep -E "^ *$name\(" "$work/log" | grep -vc 'not supported' || true)
    echo "$name: $(grep -oE '[0-9]+/[0-9]+ tests passed' "$work/log" | tail -n 1), $claimed claimed by the plug-in"
    [ "$claimed" -gt 0 ] || { echo "the plug-in claimed nothing"; exit 1; }
}

check FLASH_ATTN_EXT -p "${ATTENTION_CASES-nb=1,}"
[ "$(stat_of calls)" -gt 0 ] || { echo "no case reached our kernel"; exit 1; }
[ "$(stat_of handed_over)" -eq 0 ] || { echo "$(stat_of handed_over) claimed cases went back to the CPU backend"; exit 1; }
check SET_ROWS
