#!/bin/bash
# The published code misses its own target on flat heads, the paper's rule nearly keeps it; and the table of both can be made.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || exit 77
$make_capture "$dir/a.safetensors" heads=2 kv_heads=2 dim=32 keys=6000 spread=1.5

# Misses of the denominator, per cent of the draws, summed over heads and divided by their number.
missed() {
    "$vattn" verify --method "$1" --single-stage --draws 200 --generator plain --spread 2 --keys 16384 --group 1 --kv-heads 4 \
        --param sink=128 --param window=128 --param topk=0.01 --json "$dir/v.json" >/dev/null
    awk -F: '/"denominator_misses"/ { sum += $2; n++ } END { printf "%.0f\n", n ? sum / n / 2 : -1 }' "$dir/v.json"
}
hub=$(missed hub)
paper=$(missed paper-d)
echo "denominator missed: hub $hub %, paper-d $paper %"
[ "$hub" -ge 20 ] && [ "$hub" -le 95 ] || fail "hub misses its target in $hub % of the draws"
[ "$paper" -ge 1 ] && [ "$paper" -le 12 ] || fail "paper-d misses its target in $paper % of the draws"

expect 0 python3 scripts/hub-table.py --vattn "$vattn" --memory "$dir/memory" --draws 20 --keys 4096 -o "$dir/t/hub.md" "$dir/a.safetensors"
for line in '^\| flat .*\| hub ' '^\| flat .*\| paper-d ' '^\| synthetic, spread 1 .*\| hub ' '^\| a  *\|' 'largest 5 %'; do
    grep -Eq "$line" "$dir/t/hub.md" || fail "the table lacks '$line'"
done
finish
