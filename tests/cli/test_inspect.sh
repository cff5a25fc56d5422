#!/bin/bash
# inspect, methods, help and version.
. "$(dirname "$0")/lib.sh"
c=$dir/a.safetensors
$make_capture "$c" keys=300 steps=3 dim=16
$make_capture "$dir/nan.safetensors" keys=100 nan=1

expect 0 "$vattn" inspect "$c"
says 'capture of layer 3, 3 steps, 6 heads on 2 KV heads, head_dim 16, v_dim 16, 300 keys'
says 'keys per step: 298 299 300'
says 'model: made up'
expect 2 "$vattn" inspect "$dir/nan.safetensors"
says 'NaN 1'
head -c 5000 "$c" >"$dir/cut.safetensors"
refuse cut.safetensors "$vattn" inspect "$dir/cut.safetensors"
echo hello, this is text >"$dir/text"
refuse text "$vattn" inspect "$dir/text"
refuse "$dir" "$vattn" inspect "$dir"

expect 0 "$vattn" methods
for method in exact sparse paper-d; do says "^$method"; done
expect 0 "$vattn" --version
says '^vattn [0-9]+\.[0-9]+\.[0-9]+$'
expect 0 "$vattn" --help
for verb in run capture inspect attend verify bench methods; do says "^  $verb "; done
for verb in run capture inspect attend verify bench methods; do
    expect 0 "$vattn" $verb --help
    says "^Usage: vattn $verb "
done
refuse frob "$vattn" frob
refuse verb "$vattn"
finish
