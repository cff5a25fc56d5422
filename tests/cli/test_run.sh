#!/bin/bash
# run and capture: what the program finds in its environment, and whose exit code comes back.
. "$(dirname "$0")/lib.sh"
touch "$dir/libggml-vattn.so"
export VATTN_PLUGIN=$dir/libggml-vattn.so
unset GGML_BACKEND_PATH VATTN_METHOD VATTN_EPS VATTN_DELTA VATTN_SCOPE VATTN_SEED VATTN_STATS VATTN_OFF VATTN_CAPTURE

expect 0 "$vattn" run -- env
says "^GGML_BACKEND_PATH=$dir/libggml-vattn.so$"
says '^VATTN_STATS=-$'
grep -qE '^VATTN_(METHOD|EPS|DELTA|SCOPE|SEED|OFF)=' "$dir/out" && fail "run sets what nobody asked for"
expect 0 "$vattn" run --method exact --eps 0.1 --delta .01 --scope layer --seed 9 --stats "s.json" --off -- env
for line in METHOD=exact EPS=0.1 DELTA=.01 SCOPE=layer SEED=9 STATS=s.json OFF=1; do says "^VATTN_$line$"; done
expect 0 env VATTN_EPS=0.2 VATTN_STATS=mine "$vattn" run -- env
says '^VATTN_EPS=0.2$'
says '^VATTN_STATS=mine$'
expect 7 "$vattn" run -- sh -c 'exit 7'
expect 0 "$vattn" run -- sh -c 'test "$1 $2" = "-- --eps"' sh -- --eps
expect 0 env GGML_BACKEND_PATH=/other.so "$vattn" run -- true
grep -q /other.so "$dir/err" || fail "a replaced GGML_BACKEND_PATH goes unmentioned"

cd "$dir" || exit 1
expect 0 "$vattn" capture -o caps --steps 8 --skip 2 -- env
for line in "CAPTURE=$dir/caps" CAPTURE_STEPS=8 CAPTURE_SKIP=2 METHOD=exact; do says "^VATTN_$line$"; done
[ -d caps ] || fail "capture makes no folder"
expect 0 "$vattn" capture -o caps --steps 8 --method sparse -- env
says '^VATTN_METHOD=sparse$'

expect 0 "$vattn" capture -o caps --steps 8 -- sh -c env sh -m models/a.gguf -f b.txt
says '^VATTN_CAPTURE_MODEL=a.gguf$'
says '^VATTN_CAPTURE_TEXT=b.txt$'

refuse no-such-program "$vattn" run -- no-such-program
refuse program "$vattn" run
refuse program "$vattn" run --
refuse program "$vattn" run llama-server
refuse --eps "$vattn" run --eps big -- true
refuse --method "$vattn" run --method magic -- true
refuse --steps "$vattn" capture -o caps -- true
refuse -o "$vattn" capture --steps 3 -- true
refuse /dev/null/x "$vattn" capture -o /dev/null/x --steps 3 -- true
VATTN_PLUGIN=$dir/gone.so refuse gone.so "$vattn" run -- true
finish
