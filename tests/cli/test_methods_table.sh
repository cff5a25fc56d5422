#!/bin/bash
# The table of methods: made from a small capture, the same numbers as verify's, and refused once a number in it is wrong.
. "$(dirname "$0")/lib.sh"
python=.venv/bin/python
"$python" -c 'import numpy, safetensors' 2>/dev/null || exit 77
command -v gnuplot >/dev/null || exit 77
c=$dir/a.safetensors
$make_capture "$c" heads=4 kv_heads=2 dim=32 keys=3000 spread=2.5 steps=3

tabulate() { "$python" scripts/methods-table.py --vattn "$vattn" --memory "$dir/memory" -o "$dir/t" "$@"; }
expect 0 tabulate --only quest,uniform,paper-fixed,paper-d,paper-fixed-scores,sparse --densities 0.05,0.2 --draws 4 "$c"
t=$dir/t/methods.csv
grep -qx 'input,method,on,density,knobs,head,rows,bytes,error_mean,error_q95,error_worst,above,errors' "$t" || fail "other columns"
for line in '^all,quest,,0\.05,' '^a,quest,,0\.2,' '^all,uniform,' '^all,paper-d,quest,0\.2,eps=' '^all,sparse,,0,eps=0\.05' \
    '^# captures: a \(3000 tokens' '^# draws: 4' '^# version: vattn'; do
    grep -Eq -- "$line" "$t" || fail "methods.csv lacks '$line'"
done
for line in '^## Density 5 %' '^## Density 20 %' '^\| quest  *\| [0-9.]+ \([01]\) / [0-9.]+ \([01]\) ' '^\| sparse .* eps=0.02'; do
    grep -Eq -- "$line" "$dir/t/methods.md" || fail "methods.md lacks '$line'"
done
grep -q '</svg>' "$dir/t/methods-error.svg" || fail "no plot"

# Larger densities read more bytes; a head of `uniform` uses what it was asked for (sinks and window alone are 1.2 %).
awk -F, '$1 == "all" && $2 == "quest" && $8 <= last { exit 1 } $1 == "all" && $2 == "quest" { last = $8 }' "$t" ||
    fail "quest does not read more at larger densities"
awk -F, '$1 == "all" && $2 == "uniform" && $4 > 0.02 && ($6 < .99 * $4 || $6 > 1.01 * $4) { exit 1 }' "$t" || fail "uniform misses its density"

# Heads that draw by scores and pool their rows err less than those that draw uniformly, and read fewer.
awk -F, '$1 == "all" && $3 == "quest" && $4 == 0.2 && $2 ~ /^paper-fixed/ { e[$2] = $9; b[$2] = $8 }
    END { exit !(e["paper-fixed-scores"] < e["paper-fixed"] && b["paper-fixed-scores"] < b["paper-fixed"]) }' "$t" || fail "draws by scores are no better"

# The errors are those of verify, which has its own truth: top-k of 5 % of 3000 rows beside 36.
"$vattn" verify "$c" --method quest --param topk=114 --draws 1 --single-stage --json "$dir/v.json" >/dev/null
theirs=$(awk -F: '/"mean_error"/ { sum += $2; n++ } END { printf "%.4g\n", sum / n }' "$dir/v.json")
ours=$(awk -F, '$1 == "all" && $2 == "quest" && $4 == 0.05 { printf "%.4g\n", $9 }' "$t")
awk -v x="$ours" -v y="$theirs" 'BEGIN { exit !(x > 0 && (x - y) ^ 2 < (1e-3 * y) ^ 2) }' || fail "error of quest: $ours, verify says $theirs"

# A second run remembers everything and says the same; then numbers that no measurement can have given.
cp "$t" "$dir/first.csv"
expect 0 tabulate --only quest,uniform,paper-fixed,paper-d,paper-fixed-scores,sparse --densities 0.05,0.2 --draws 4 "$c"
cmp -s "$t" "$dir/first.csv" || fail "remembered measurements give another table"
expect 0 tabulate --only quest,hash,sparse --densities 0.05,0.2 --draws 4 --remembered "$c" # without those that were never made
grep -q '^# settings not measured: 5$' "$t" && ! grep -q hash "$t" || fail "a table of what is remembered"
cp "$dir/first.csv" "$t"
expect 0 tabulate --report
expect 0 tabulate --check
plant() { # plant WHAT SED-SCRIPT FILE
    cp "$3" "$dir/kept"
    sed -Ei "$2" "$3"
    cmp -s "$3" "$dir/kept" && fail "nothing planted: $1"
    expect 1 tabulate --check
    cp "$dir/kept" "$3"
}
plant "a mean error of one capture" 's/^(a,quest,,0\.2,,[^,]*,[^,]*,[^,]*),[^,]*/\1,0.0123/' "$t"
plant "bytes fewer than the rows'" 's/^((all|a),quest,,0\.2,,[^,]*,[^,]*),[^,]*/\1,0.01/' "$t"
plant "more misses than the mean error allows" 's/^(([^,]*,){11})[^,]*,([0-9]+)$/\11,\3/; s/^(([^,]*,){8})[0-9]/\10/' "$t"
plant "a row without its total" '/^all,quest,,0\.2,/d' "$t"
plant "densities in the wrong order" 's/^(a|all),quest,,0\.05,/\1,quest,,0.3,/' "$t"
plant "a word for a number" 's/^(all,quest,,0\.2,,)[^,]*/\1many/' "$t"
plant "another number in the text" '0,/^\| quest /s/^(\| quest .*[0-9])([0-9]) /\1x /' "$dir/t/methods.md"
expect 0 tabulate --check

# One method anew: the others' rows stay, and who measured what is said; other conditions do not mix.
expect 0 tabulate --only uniform --renew --densities 0.05,0.2 --draws 4 "$c"
cmp -s <(grep -v '^# later' "$t") "$dir/first.csv" || fail "renewed rows are others, or elsewhere"
grep -q '^# later, uniform: vattn' "$t" || fail "nobody says that uniform was measured later"
expect 0 tabulate --check
expect 1 tabulate --only uniform --renew --densities 0.05,0.2 --draws 5 "$c"

expect 1 tabulate --only quest "$dir/NOPE.safetensors"
if [ -e docs/results/methods.csv ]; then # what is in the repository, with every method that there is
    expect 0 "$python" scripts/methods-table.py --check
    for method in $("$vattn" methods | grep -oE '^[a-z].*'); do
        grep -q "^all,$method," docs/results/methods.csv || fail "docs/results/methods.csv lacks $method"
    done
fi
finish
