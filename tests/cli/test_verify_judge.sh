#!/bin/bash
# The judge itself: a stand-in for the library misses as often as it is told, and verify must find out exactly when it lies.
. "$(dirname "$0")/lib.sh"
$make_capture "$dir/a.safetensors" steps=2 heads=4 kv_heads=2 dim=8 keys=80 spread=1
verify="$fake verify --steps 1 $dir/a.safetensors"

expect 0 env FAKE_MISS=0 $verify
says '4 of 4 cases kept the promise, worst case missed 0.00 % of 2000 draws, 0 drawn again'
expect 0 env FAKE_MISS=0.05 $verify                # exactly delta: kept
expect 1 env FAKE_MISS=0.075 $verify               # 1.5 delta: found out by the second stage
says 'FAILED a.safetensors step 1 head [0-3]: [0-9]+ misses in [0-9]+ draws'
expect 1 env FAKE_MISS=0.5 FAKE_HEAD=2 $verify     # one head among honest ones is never hidden by them
says 'FAILED .* head 2: '
says '3 of 4 cases'
[ "$(grep -c ^FAILED "$dir/out")" = 1 ] || fail "more than the cheating head failed"
expect 1 env FAKE_MISS=0.5 FAKE_ANSWER=0 $verify   # a miss is a miss even if the answer claims to be exact
expect 1 env FAKE_MISS=0.5 FAKE_ANSWER=2 $verify   # or uncertified
says 'uncertified 100.00 %'
expect 0 env FAKE_ANSWER=2 $verify
expect 1 env FAKE_MISS=0.3 $verify --single-stage
says 'one stage: 2000 draws, more than 1[45][0-9] misses fail'
expect 0 env FAKE_MISS=0.05 $verify --single-stage
expect 0 env FAKE_MISS=0.05 $verify --scope layer
says '1 of 1 cases'
expect 1 env FAKE_MISS=0.08 $verify --scope layer
says 'all heads: '
expect 1 env FAKE_MISS=0.05 $verify --scope token  # each of four heads has a quarter of delta
expect 0 env FAKE_MISS=0.01 $verify --scope token  # every head within its share, and all of them together within delta
says 'all heads of a call together: probability 0.05'
says '5 of 5 cases'
expect 1 env FAKE_MISS=0.05 $verify --scope token
says 'FAILED .* any head: '
expect 1 env FAKE_FROZEN=1 $verify                 # no miss, but every draw is the same
says 'FAILED .* head 0: 2000 draws that left rows out gave only 1 different errors'
expect 0 env FAKE_FROZEN=1 FAKE_ANSWER=0 $verify   # exact answers may repeat
expect 1 $verify --claim-eps 0.01                  # hits have .3 eps = .015

# The verdict does not depend on threads, and JSON has what the contract names.
FAKE_MISS=0.06 $verify --threads 1 --draws 500 --json "$dir/1.json" >/dev/null
FAKE_MISS=0.06 $verify --threads 3 --draws 500 --json "$dir/3.json" >/dev/null
cmp "$dir/1.json" "$dir/3.json" || fail "threads change the verdict"
for key in pass method eps delta scope draws limits rows_kv_fraction bytes_fraction index_bytes_per_token slack cases \
    capture step head n misses uncertified exact mean_error max_error mean_slack p_value beyond_bound denominator_misses denominator_bias numerator_misses tail_mass rank_histogram different_errors; do
    grep -q "\"$key\":" "$dir/1.json" || fail "JSON lacks $key"
done
finish
