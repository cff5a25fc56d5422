#!/bin/bash
# Planted cheats: the laboratory must go red on each of them, on cases where the honest library stays green.
# Prints a table: the cheat, the first case that caught it, and why.  `make cheats` shows it.
. "$(dirname "$0")/../cli/lib.sh"
cheats=$build/tests/cheats/vattn-cheats
suite="verify --generator plain,flat,cancel-window,half-window --group 1 --kv-heads 1 --draws 500 --single-stage"

declare -A what=(
    [weights]="rows read by chance weigh 3 % too much"
    [peeking]="rows that the first look read count as certain at the next"
    [quantile]="the median instead of the 1 - delta quantile"
    [frozen-seed]="every call draws the same numbers"
    [no-fallback]="a look that fails is answered nevertheless"
    [half-variance]="half of the estimated variance"
    [reach]="strict mode without its bounds on unread scores"
)

# What no proxy shows is what strict mode is for.
strict="verify --method sparse-strict --generator aimed-needles --group 1 --kv-heads 1 --draws 300 --single-stage --eps 0.1
        --param code_bits=1 --param max_rows=1"

# shellcheck disable=SC2086
expect 0 "$cheats" $strict
says '1 of 1 cases kept the promise'
# shellcheck disable=SC2086
expect 0 "$cheats" $suite
says '4 of 4 cases kept the promise'
sampled=$(grep -c 'exact 0.0 %' "$dir/out") # exact answers would prove nothing
[ "$sampled" -ge 3 ] || fail "only $sampled cases of the honest run were answered from samples"

printf '%-14s %-60s %-14s %s\n' cheat "what it does" "caught by" how
for cheat in weights peeking quantile frozen-seed no-fallback half-variance reach; do
    with=$suite
    [ $cheat = reach ] && with=$strict
    # shellcheck disable=SC2086
    VATTN_CHEAT=$cheat expect 1 "$cheats" $with
    line=$(grep -m 1 ^FAILED "$dir/out") || fail "$cheat was not caught"
    printf '%-14s %-60s %-14s %s\n' "$cheat" "${what[$cheat]}" "$(cut -d' ' -f2 <<<"$line")" "${line#*: }"
done
printf '%-14s %-60s %-14s %s\n' none "the honest library, same cases" - "$(grep -o '[0-9.]* % of 500 draws' <("$cheats" $suite) | head -1) missed at worst"
VATTN_CHEAT=nonsense refuse "no such cheat" "$cheats" --version
finish
