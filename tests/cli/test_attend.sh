#!/bin/bash
# attend: files, exit codes, one-line complaints, and the same bits for any number of threads.
. "$(dirname "$0")/lib.sh"
c=$dir/a.safetensors
$make_capture "$c" heads=4 kv_heads=2 keys=4096 spread=2.5
$make_capture "$dir/plain.safetensors" keys=2048 moment=0
$make_capture "$dir/tiny.safetensors" keys=5 steps=3 dim=6
$make_capture "$dir/nan.safetensors" keys=100 nan=1

attend() { expect "$1" "$vattn" attend "${@:2}"; }

attend 0 "$c" -o "$dir/1.st" --draws 3 --warm 2 --threads 1
says 'step 3: 4096 keys, 3 draws'
for t in 2 5; do
    attend 0 "$c" -o "$dir/$t.st" --draws 3 --warm 2 --threads $t
    cmp "$dir/1.st" "$dir/$t.st" || fail "$t threads give other bits than one"
done
attend 0 "$c" -o "$dir/seed.st" --draws 3 --warm 2 --seed 7
cmp -s <(tail -c +1000 "$dir/1.st") <(tail -c +1000 "$dir/seed.st") && fail "the seed changes nothing"
expect 0 "$vattn" inspect "$dir/1.st"
for line in 'out +F32 +\[3, 4, 64\]' 'bound +F32 +\[3, 4\]' 'status +U8 +\[3, 4\]' 'rows_kv +I32 +\[3, 2\]' \
    'rows_k +I32 +\[3, 2\]' 'rounds +U8 +\[3, 2\]' 'bytes +I64 +\[3\]'; do
    says "$line"
done
for method in exact sparse; do
    for scope in head layer token; do
        attend 0 "$c" -o "$dir/x.st" --method $method --scope $scope --step 1
    done
done
attend 0 "$dir/plain.safetensors" -o "$dir/x.st" --step 0 # identity in place of the second moment
attend 0 "$dir/plain.safetensors" -o "$dir/x.st" --step 2 # second moment of the steps before
attend 0 "$dir/tiny.safetensors" -o "$dir/x.st"
says '0 certified, 6 exact'
attend 1 "$c" -o "$dir/x.st" --method paper-d             # does not certify the output

refuse missing "$vattn" attend "$c"
refuse NOPE "$vattn" attend "$dir/NOPE" -o "$dir/x.st"
refuse --step "$vattn" attend "$c" -o "$dir/x.st" --step 4
refuse --method "$vattn" attend "$c" -o "$dir/x.st" --method magic
refuse --eps "$vattn" attend "$c" -o "$dir/x.st" --eps 2
refuse --eps "$vattn" attend "$c" -o "$dir/x.st" --eps
refuse --frob "$vattn" attend "$c" -o "$dir/x.st" --frob
refuse frob "$vattn" attend "$c" -o "$dir/x.st" --param frob=1
refuse no/such "$vattn" attend "$c" -o "$dir/no/such.st"
head -c 9999 "$c" >"$dir/cut.safetensors"
refuse cut.safetensors "$vattn" attend "$dir/cut.safetensors" -o "$dir/x.st"
expect 2 "$vattn" attend "$dir/nan.safetensors" -o "$dir/x.st" --method exact
finish
