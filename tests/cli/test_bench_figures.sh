#!/bin/bash
# The table and the plots of `make bench`, from a run too small to mean anything.
. "$(dirname "$0")/lib.sh"
figures="$(dirname "$0")/../../scripts/bench-figures.py"
expect 0 python3 "$figures" --vattn "$vattn" --heads 4 --kv-heads 2 --head-dim 16 --keys 256,512 --at 512 --layers 2 --repeat 1 -o "$dir/figures"
grep -q '^| 512 |' "$dir/figures/bench.md" || fail "no line of 512 keys"
grep -q '"by_eps"' "$dir/figures/bench.json" || fail "JSON lacks the sweep over eps"
for name in keys eps limit; do
    grep -q 'sparse' "$dir/figures/bench-$name.svg" || fail "bench-$name.svg does not show sparse"
done
expect 0 python3 "$figures" --help
finish
