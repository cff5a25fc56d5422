#!/bin/bash
# The table of coverage: verify's own verdicts under every setting, a lie is in it by name, and a number nobody measured is refused.
. "$(dirname "$0")/lib.sh"
python=.venv/bin/python
"$python" -c 'import numpy' 2>/dev/null || exit 77
c=$dir/model-layer03.safetensors
$make_capture "$c" steps=2 heads=4 kv_heads=2 dim=8 keys=80 spread=1
tabulate() { "$python" scripts/coverage-table.py --memory "$dir/memory" -o "$dir/t" "$@"; }
t=$dir/t/coverage.csv

# A library that misses as often as it may passes; one that misses more is named, and so is the setting.
expect 0 env FAKE_MISS=0.04 "$python" scripts/coverage-table.py --vattn "$fake" --memory "$dir/honest" -o "$dir/t" --generators none \
    --scopes head,layer --deltas 0.05,0.25 --eps 0.05,0.2 --draws 300 "$c"
grep -Eq '^\* Captures, scope head: 32 of 32 cases kept' "$dir/t/coverage.md" || fail "no verdict on 8 cases under four settings"
expect 1 env FAKE_MISS=0.12 FAKE_HEAD=2 "$python" scripts/coverage-table.py --vattn "$fake" --memory "$dir/lie" -o "$dir/t" \
    --generators none --scopes head --deltas 0.05,0.25 --eps 0.05 --draws 1000 "$c"
grep -Eq '^\* Captures, scope head: 14 of 16 cases kept' "$dir/t/coverage.md" || fail "a lie about one head of four is not counted"
grep -Eq '^\* \*\*Failed:\*\* model-layer03 step 1 head 2, at eps 0.05, delta 0.05, scope head' "$dir/t/coverage.md" || fail "the lie is not named"
grep -q "^model,head,0.25,0.05,2,8,1000,0,0," "$t" || fail "12 % of misses fail a delta of 25 %"

# The real library: what verify says is what the table has, a second run measures nothing.
$make_capture "$c" heads=4 kv_heads=2 dim=32 keys=3000 spread=2.5 steps=3
common=(--vattn "$vattn" --generators "tiny,one-line" --draws 100 --generator-draws 20 --scopes "head,token" --deltas 0.05 --eps "0.05,0.2")
expect 0 tabulate "${common[@]}" "$c"
"$vattn" verify "$c" --draws 100 --eps 0.2 --json "$dir/v.json" >/dev/null
theirs=$(awk -F'[:,]' '/"rows_kv_fraction"/ { printf "%.4g\n", $2; exit }' "$dir/v.json")
ours=$(awk -F, '$1 == "model" && $2 == "head" && $4 == 0.2 { print $13 }' "$t")
[ "$ours" = "$theirs" ] || fail "rows read: $ours in the table, verify says $theirs"
grep -q '^generators,token,0.05,0.05,2,' "$t" || fail "no row of two generators"
cp "$t" "$dir/first.csv"
expect 0 tabulate "${common[@]}" "$c"
cmp -s "$t" "$dir/first.csv" || fail "remembered verdicts give another table"
grep -q '[#]' "$dir/err" && fail "the second run measured again"
expect 0 tabulate --check

plant() { # plant WHAT SED-SCRIPT FILE
    cp "$3" "$dir/kept"
    sed -Ei "$2" "$3"
    cmp -s "$3" "$dir/kept" && fail "nothing planted: $1"
    expect 1 tabulate --check
    cp "$dir/kept" "$3"
}
plant "misses above the limit that nobody looked at again" 's/^((model,head,[^,]*,0.2,([^,]*,){5}))[^,]*/\10.5/' "$t"
plant "a failure without a name" 's/^((model,head,[^,]*,0.2,([^,]*,){4}))0,/\11,/' "$t"
plant "bytes fewer than the rows'" 's/^((model,token,[^,]*,0.2,([^,]*,){9}))[^,]*/\10.0001/' "$t"
plant "a setting that is missing" '/^model,token,0.05,0.2,/d' "$t"
plant "another number in the text" 's/^(\* Captures, scope head: )2/\13/' "$dir/t/coverage.md"
expect 0 tabulate --check

expect 1 tabulate --vattn "$vattn" --generators none "$dir/NOPE.safetensors"
expect 1 tabulate --vattn "$vattn" --generators nothing-like-that "$c"
[ ! -e docs/results/coverage.csv ] || expect 0 "$python" scripts/coverage-table.py --check # what is in the repository
finish
