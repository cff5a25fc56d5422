#!/bin/bash
# The host's own operator test, with the plug-in as the device under test: every decode attention that the plug-in claims must agree
# with the CPU backend within the host's tolerance. VATTN_TEST_CLAIM_ALL: the test's tensors are no KV cache, claim them all the same.
source tests/host/host.sh

export GGML_BACKEND_PATH=$plugin VATTN_TEST_CLAIM_ALL=1 VATTN_METHOD=exact
if ! "$host_bin/test-backend-ops" test -b VATTN -o FLASH_ATTN_EXT -p 'nb=1,' >"$work/log" 2>&1; then
    grep -E 'FAIL' "$work/log" | head -n 20
    tail -n 5 "$work/log"
    exit 1
fi
passed=$(grep -oE '[0-9]+/[0-9]+ tests passed' "$work/log" | tail -n 1)
claimed=$(grep -E 'FLASH_ATTN_EXT' "$work/log" | grep -vc 'not supported' || true)
echo "$passed, $claimed of them claimed by the plug-in"
[ "$claimed" -gt 0 ] || { echo "the plug-in claimed nothing"; exit 1; }
