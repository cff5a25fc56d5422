#!/bin/bash
# Every method of the list answers a capture and can be verified; its parameters mean what they say.
. "$(dirname "$0")/lib.sh"
c=$dir/a.safetensors
$make_capture "$c" heads=4 kv_heads=2 dim=32 keys=3000 spread=2

expect 0 "$vattn" methods --heads 8 --kv-heads 2 --head-dim 32 --keys 4096 --json "$dir/shape.json"
expect 0 "$vattn" methods "$c" --json "$dir/capture.json"
for key in methods name summary parameters source index index_bytes_per_token kv_bytes_per_token; do
    grep -q "\"$key\":" "$dir/shape.json" || fail "JSON lacks $key"
done
grep -q '"kv_bytes_per_token":\s*256' "$dir/shape.json" || fail "two KV heads of 32 f16 keys and values are 256 bytes"

# A method that this build lacks says so; every other one runs.
absent=$("$vattn" methods --heads 4 --kv-heads 2 --head-dim 32 | awk '/^[a-z]/ {name = $1} /not in this build/ {print name}')
for method in $("$vattn" methods | grep -oE '^[a-z].*'); do
    if grep -qx "$method" <<<"$absent"; then
        expect 2 "$vattn" attend "$c" -o "$dir/x.st" --method "$method"
        continue
    fi
    "$vattn" attend "$c" -o "$dir/x.st" --method "$method" --draws 2 >"$dir/out" 2>"$dir/err"
    [ $? -le 1 ] || fail "attend --method $method: $(cat "$dir/err")"
    says '3000 keys, 2 draws'
    "$vattn" verify "$c" --method "$method" --draws 4 --steps 3 --single-stage --json "$dir/v.json" >"$dir/out" 2>"$dir/err"
    [ $? -le 1 ] || fail "verify --method $method: $(cat "$dir/err")"
    grep -q '"denominator_misses":' "$dir/v.json" || fail "verify --method $method says nothing about its denominator"
done

# Every selector under the paper's rule; all but the oracles keep something for a key.
for selector in topk-oracle topp-oracle quest double-sparsity pq hash magicpig socket; do
    "$vattn" verify "$c" --method paper-sdpa --param selector=$selector --eps 0.5 --draws 4 --steps 3 --single-stage --json "$dir/v.json" \
        >"$dir/out" 2>"$dir/err"
    [ $? -le 1 ] || fail "verify with selector=$selector: $(cat "$dir/err")"
    grep -qE '"index_bytes_per_token":\s*[1-9]' "$dir/v.json" || [[ $selector == *oracle ]] || fail "$selector keeps nothing"
done

rows() { grep -oE 'rows read [0-9.]+' "$dir/out" | grep -oE '[0-9.]+$'; }
about() { # rows read lie between $1 and $2 %
    awk -v x="$(rows)" -v low="$1" -v high="$2" 'BEGIN { exit !(x >= low && x <= high) }' || fail "rows read: $(rows) %, not $1 to $2"
}
# One KV head per query head, so that shares of rows are not those of a union.
$make_capture "$dir/mha.safetensors" heads=3 kv_heads=3 dim=32 keys=3000 spread=2
run() { expect 1 "$vattn" attend "$dir/mha.safetensors" -o "$dir/x.st" --draws 5 "$@"; }
run --method sink-window --param window=0.1 --param sink=0
about 10 10
run --method sink-window --param window=200 --param sink=100
about 10 10
run --method topk-oracle --param topk=0.05 --param sink=0 --param window=0
about 5 5
run --method uniform --param base=300 --param sink=0 --param window=0
about 10 10
# Two heads to a KV head: apart they read two samples, sharing one.
expect 1 "$vattn" attend "$c" -o "$dir/x.st" --draws 5 --method uniform --param base=300 --param sink=0 --param window=0
about 18 20
expect 1 "$vattn" attend "$c" -o "$dir/x.st" --draws 5 --method uniform --param base=300 --param sink=0 --param window=0 --param shared=1
about 10 10
# By scores: a head alone draws as many rows as it is told; the group's heads read what one of them would, or a little more.
run --method paper-d --param selector=quest --param base=300 --param topk=150 --param sink=0 --param window=0 --param by_scores=1 --eps 0.99 --delta 0.5
about 15 16
expect 1 "$vattn" attend "$c" -o "$dir/x.st" --draws 5 --method paper-d --param base=300 --param topk=1e-9 --param sink=0 --param window=0 --param by_scores=1 --eps 0.99 --delta 0.5
about 12 20
apart=$(rows)
expect 1 "$vattn" attend "$c" -o "$dir/x.st" --draws 5 --method paper-d --param base=300 --param topk=1e-9 --param sink=0 --param window=0 --param by_scores=1 --param shared=1 --eps 0.99 --delta 0.5
awk -v x="$(rows)" -v y="$apart" 'BEGIN { exit !(x >= 10 && x < y - 1) }' || fail "pooled heads read $(rows) %, heads apart $apart %"
refuse by_scores "$vattn" attend "$c" -o "$dir/x.st" --method hub --param by_scores=1
run --method hub --param base=0.1 --param topk=0 --eps 0.9 --delta 0.5
about 10 12
run --method paper-d --param base=0.1 --param topk=0.05 --eps 0.9 --delta 0.5
about 15 17
run --method paper-d --param selector=magicpig --param topk=0.05 --param base=30 --eps 0.9
run --method topp-oracle --param top_p=0.5
half=$(rows)
run --method topp-oracle --param top_p=0.99
awk -v x="$half" -v y="$(rows)" 'BEGIN { exit !(x > 1 && x < 30 && y > 2 * x) }' || fail "top_p .5 reads $half %, .99 $(rows) %"

refuse selector "$vattn" attend "$c" -o "$dir/x.st" --method quest --param selector=pq
refuse sparse "$vattn" attend "$c" -o "$dir/x.st" --method paper-d --param selector=sparse
refuse lsh_l "$vattn" attend "$c" -o "$dir/x.st" --method magicpig --param lsh_l=0
refuse "check the values" "$vattn" attend "$c" -o "$dir/x.st" --method magicpig --param lsh_l=2 --param lsh_collisions=3
refuse bench "$vattn" bench --method magicpig
# Signatures from a file: two KV heads and four heads, 32 -> 8 bits, all weights 1 (layer 3 is that of the capture).
ones() { for ((i = 0; i < $1; i++)); do printf '\0\0\200\77'; done; }
weights() { # weights FILE LAYER
    local header="{\"layers.$2.k.0.weight\":{\"dtype\":\"F32\",\"shape\":[2,8,32],\"data_offsets\":[0,2048]},"
    header+="\"layers.$2.q.0.weight\":{\"dtype\":\"F32\",\"shape\":[4,8,32],\"data_offsets\":[2048,6144]}}"
    while ((${#header} % 8)); do header+=" "; done
    # shellcheck disable=SC2059 # the length is written as an escape
    { printf "\\$(printf %o $((${#header} % 256)))\\$(printf %o $((${#header} / 256)))\0\0\0\0\0\0"; printf %s "$header"; ones 1536; } >"$1"
}
weights "$dir/w.st" 3
expect 1 "$vattn" attend "$c" -o "$dir/x.st" --method hash --param hash_weights="$dir/w.st"
expect 1 "$vattn" attend "$c" -o "$dir/x.st" --method paper-sdpa --param selector=hash --param hash_weights="$dir/w.st"
expect 0 "$vattn" methods "$c" --param hash_weights="$dir/w.st" --json "$dir/hash.json"
# 8 bits of 2 KV heads, and 4 x 8 x 32 floats for 3000 keys
grep -q '"index_bytes_per_token":\s*3\.36' "$dir/hash.json" || fail "the index of learned signatures: $(grep index_bytes "$dir/hash.json")"
weights "$dir/w.st" 2
refuse layers.3 "$vattn" attend "$c" -o "$dir/x.st" --method hash --param hash_weights="$dir/w.st"
refuse NOPE "$vattn" attend "$c" -o "$dir/x.st" --method hash --param hash_weights=NOPE

# Values that no index can have: the others are still listed.
expect 0 "$vattn" methods "$c" --param group_factor=33
says 'refused: check the values'
says 'a code of the keys, [0-9.]+ bytes per key'

refuse selector "$vattn" methods --param selector=pq
refuse NOPE "$vattn" methods NOPE
finish
