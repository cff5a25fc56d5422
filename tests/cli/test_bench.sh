#!/bin/bash
# bench runs and its JSON has what the contract names; the times themselves are nobody's business here.
. "$(dirname "$0")/lib.sh"
expect 0 "$vattn" bench --heads 4 --kv-heads 2 --head-dim 64 --keys 2048 --method exact,sparse --density 0.1 --repeat 2 --layers 2 \
    --json "$dir/b.json"
says '^exact +2048'
says '^sparse +2048'
for key in machine cases method n threads rows_kv_fraction ms_min ms_median bytes stream_ms_min ratio_to_stream stages scan \
    design gather estimate merge; do
    grep -q "\"$key\":" "$dir/b.json" || fail "JSON lacks $key"
done
expect 0 "$vattn" bench --heads 4 --kv-heads 2 --head-dim 64 --keys 2048 --repeat 2 --layers 2 --type q8_0
says ' of 64, q8_0;'
refuse --head-dim "$vattn" bench --head-dim 40 --keys 2048 --layers 2 --type q8_0
refuse --keys "$vattn" bench --keys 3
refuse --type "$vattn" bench --type q4
refuse --heads "$vattn" bench --heads 5 --kv-heads 2 --keys 64
finish
