#!/bin/bash
# verify on the real library: an honest run passes, a planted cheat (looser eps than claimed) does not.
. "$(dirname "$0")/lib.sh"
$make_capture "$dir/a.safetensors" heads=4 kv_heads=2 keys=4096 spread=2.5
$make_capture "$dir/f32.safetensors" heads=3 kv_heads=3 dim=40 keys=700 f32=1 moment=0

expect 0 "$vattn" verify --method exact --eps 1e-5 --draws 2 "$dir/a.safetensors" "$dir/f32.safetensors"
says 'rows 100.00 %'
for types in q8_0 bf16 q8_0,f16 f32,bf16; do # truth is of the rows as rounded
    expect 0 "$vattn" verify --method exact --eps 1e-5 --draws 2 --kv-type $types "$dir/a.safetensors"
    expect 0 "$vattn" verify --draws 200 --steps 3 --kv-type $types "$dir/a.safetensors"
done
expect 0 "$vattn" verify --method exact --eps 1e-5 --draws 2 --kv-type bf16 "$dir/f32.safetensors"
refuse --kv-type "$vattn" verify --kv-type q8_0 "$dir/f32.safetensors" # rows of 40
refuse --kv-type "$vattn" verify --kv-type q4_0 "$dir/a.safetensors"
expect 0 "$vattn" verify --draws 300 --steps 1,3 --warm 1 "$dir/a.safetensors" "$dir/f32.safetensors"
says 'PASS: sparse eps 0.05 delta 0.05 scope head: 14 of 14 cases'
expect 0 "$vattn" verify --draws 200 --steps 3 --scope layer --eps 0.1 "$dir/a.safetensors"
expect 1 "$vattn" verify --draws 200 --steps 3 --eps 0.4 --claim-eps 0.02 --param max_rows=1 "$dir/a.safetensors"
says '^FAILED a.safetensors step 3 head'
expect 0 "$vattn" verify --draws 200 --steps 3 --scope token --param n_layers=10 --eps 0.1 "$dir/a.safetensors"
says '5 of 5 cases'
expect 0 "$vattn" verify --draws 400 --steps 3 --cases --json "$dir/v.json" "$dir/a.safetensors"
says 'head 3 +misses .*beyond its bound .*slack .*ranks'
# Ranks: every certified draw has one, and they are spread as the certificate claims (a flat claim would fill one bin).
awk '/"rank_histogram"/ { gsub(/[^0-9,]/, ""); sub(/,$/, ""); n = split($0, bin, ","); sum = most = 0
         for (i = 1; i <= n; i++) { sum += bin[i]; if (bin[i] > most) most = bin[i] }
         if (n != 20 || sum != 400 || most > 200) exit 1; cases++ }
     END { exit cases != 4 }' "$dir/v.json" || fail "rank histograms are not what they should be"
for off in avx512 avx512,avx2; do # every kernel tier keeps the promise
    VATTN_DISABLE_CPU=$off expect 0 "$vattn" verify --draws 100 --steps 3 "$dir/a.safetensors" "$dir/f32.safetensors"
done
VATTN_DISABLE_CPU=abacus refuse VATTN_DISABLE_CPU "$vattn" verify "$dir/a.safetensors"
# Strict: needles that no proxy shows, and no miss; the same for any number of threads, in every scope.
expect 0 "$vattn" verify --method sparse-strict --generator blind-needle,aimed-needles,hidden-needles --kv-heads 1 --draws 60 --eps 0.1
says 'worst case missed 0.00 %'
says 'aimed-needles step 0: n 8192, rows [0-9.]* %, exact [0-9]\.'
for scope in head layer token; do
    "$vattn" verify --method sparse-strict --scope $scope --steps 3 --draws 40 --eps 0.2 --threads 1 --json "$dir/1.json" "$dir/a.safetensors" >/dev/null ||
        fail "strict, scope $scope"
    "$vattn" verify --method sparse-strict --scope $scope --steps 3 --draws 40 --eps 0.2 --threads 2 --json "$dir/2.json" "$dir/a.safetensors" >/dev/null
    cmp "$dir/1.json" "$dir/2.json" || fail "strict depends on threads, scope $scope"
done
refuse NOPE "$vattn" verify "$dir/NOPE"
refuse --steps "$vattn" verify --steps 4 "$dir/a.safetensors"
refuse --draws "$vattn" verify --draws 0 "$dir/a.safetensors"
refuse --json "$vattn" verify --method exact --draws 1 --json "$dir/no/such.json" "$dir/a.safetensors"
refuse CAPTURE "$vattn" verify
finish
