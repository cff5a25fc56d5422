#!/bin/bash
# Every symbol that a program could collide with begins with vattn_; the shared library exports exactly what the header declares.
set -euo pipefail

build=${VATTN_BUILD:-build/release}
shared=$(find "$build" -name libvattn.so -print -quit)
static=$(find "$build" -name libvattn.a -print -quit)

if nm -g --defined-only "$shared" "$static" | awk 'NF == 3 {print $3}' | grep -v '^vattn_'; then
    echo "these symbols lack the prefix" >&2
    exit 1
fi

declared=$(cat include/*.h | tr '\n' ' ' | grep -oE 'VATTN_API [^;{]*\(' | grep -oE 'vattn_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
exported=$(nm -D --defined-only "$shared" | awk '{print $3}' | sort -u)
if ! diff <(echo "$declared") <(echo "$exported"); then
    echo "< declared, > exported" >&2
    exit 1
fi
echo "$(echo "$exported" | wc -l) symbols exported, all declared"
