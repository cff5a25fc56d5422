# Shared by the scripts of this folder: a place for files, and checks that say what they wanted.
# shellcheck shell=bash disable=SC2034
set -u
build=${VATTN_BUILD:?run this through ctest, or set VATTN_BUILD to a build tree}
vattn=$build/tools/vattn
fake=$build/tests/cli/vattn-fake
make_capture=$build/tests/cli/make_capture
case $build in */tsan) echo "skipped: the OpenMP runtime is not instrumented for the thread sanitizer"; exit 77 ;; esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect CODE COMMAND...: exit code; output in $dir/out and $dir/err
expect() {
    local want=$1 got=0
    shift
    "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" = "$want" ] || { fail "'${*##*/}' gave $got, not $want"; cat "$dir/out" "$dir/err"; }
}

# refuse WORD COMMAND...: exit code 2, nothing but one line on stderr, and that line names WORD
refuse() {
    local word=$1
    shift
    expect 2 "$@"
    [ "$(wc -l <"$dir/err")" = 1 ] || { fail "'${*##*/}' does not complain in one line"; cat "$dir/err"; }
    grep -q -- "$word" "$dir/err" || { fail "'${*##*/}' does not name $word"; cat "$dir/err"; }
}

# says PATTERN: the last command's stdout has it
says() {
    grep -Eq -- "$1" "$dir/out" || { fail "output lacks '$1'"; cat "$dir/out"; }
}

finish() {
    [ $failures = 0 ] && echo "all fine"
    exit $((failures > 0))
}
