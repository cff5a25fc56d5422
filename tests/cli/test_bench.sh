#!/bin/bash
# bench runs and its JSON has what the contract names; the times themselves are nobody's business here.
. "$(dirname "$0")/lib.sh"
expect 0 "$vattn" bench --heads 4 --kv-heads 2 --head-dim 64 --keys 2048 --method exact,sparse --density 0.1 --repeat 2 --layers 2 \
    --json "$dir/b.json"
says '^exact +2048'
says '^sparse +2048'
for key in machine cases method n threads rows_kv_fraction ms_min ms_median bytes stream_ms_min ratio_to_stream stages scan \
    design gather estimate merge ns_per_row share_of_limit stream_gb_s gather_gb_s; do
    grep -q "\"$key\":" "$dir/b.json" || fail "JSON lacks $key"
done
expect 0 "$vattn" bench --heads 4 --kv-heads 2 --head-dim 64 --keys 2048 --repeat 2 --layers 2 --type q8_0
says ' of 64, q8_0;'
refuse --head-dim "$vattn" bench --head-dim 40 --keys 2048 --layers 2 --type q8_0
refuse --keys "$vattn" bench --keys 3
refuse --type "$vattn" bench --type q4
refuse --heads "$vattn" bench --heads 5 --kv-heads 2 --keys 64

# Peers: the protocol is spoken, the answer is checked, and what goes wrong is said.
small="--heads 2 --kv-heads 1 --head-dim 16 --keys 64 --type f32 --layers 2 --repeat 1 --method exact --threads 1"
peer="python3 $(dirname "$0")/peer.py"
# shellcheck disable=SC2086
{
    expect 0 "$vattn" bench $small --peer "twin=$peer honest" --json "$dir/p.json"
    says '^twin +64 .* error [0-9.]+e-0[678]$'
    grep -A24 '"method":[[:space:]]*"twin"' "$dir/p.json" | grep -q '"peer":[[:space:]]*true' || fail "JSON does not mark the peer"
    refuse 'another computation' "$vattn" bench $small --peer "liar=$peer lie"
    refuse 'ended without an answer' "$vattn" bench $small --peer "gone=$peer end"
    refuse "instead of 'ready'" "$vattn" bench $small --peer "babbler=$peer babble"
    refuse 'cannot start' "$vattn" bench $small --peer "none=/no/such/program"
    refuse NAME=COMMAND "$vattn" bench $small --peer "$peer"
}
finish
