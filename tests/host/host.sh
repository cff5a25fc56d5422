# Sourced by the tests of this folder: where the host and the plug-in are, or skip.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

build=${VATTN_BUILD:-build/release}
cache=${VATTN_CACHE:-.cache}
host_bin=$cache/host/build/bin
plugin=$(find "$PWD/$build" "$build" -name libggml-vattn.so -print -quit 2>/dev/null || true)
driver=build/demo-driver/vattn-demo
model=$cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
text=$cache/texts/pride-and-prejudice.txt

skip() {
    echo "skipped: $*"
    exit 77
}

[ "${VATTN_TEST_HOST:-1}" != 0 ] || skip "VATTN_TEST_HOST=0"
[ -n "$plugin" ] || skip "no plug-in in $build"
[ -x "$host_bin/test-backend-ops" ] || skip "no llama.cpp in $cache; scripts/run-tests.sh builds it"
plugin=$(realpath "$plugin")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A number of the plug-in's statistics, which the last program wrote to $work/stats.json.
stat_of() {
    grep -oP "\"$1\": \K[0-9.e+-]+" "$work/stats.json"
}
