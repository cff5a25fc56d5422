#!/bin/bash
# The host's attention takes its turn in `vattn bench`: both of its ways answer what exact attention answers, but for sums in f16.
source tests/host/host.sh

peer=build/demo-driver/vattn-peer-ggml
vattn=$build/tools/vattn
bench() { "$vattn" bench --heads 14 --kv-heads 2 --head-dim 64 --keys 2000 --layers 2 --repeat 1 --threads 2 --method exact "$@"; }

bench --peer "fa=$peer fa" --peer "ops=$peer ops" --json "$work/f16.json"
bench --type q8_0 --peer "fa=$peer fa" --json "$work/q8_0.json"
.venv/bin/python - "$work" <<'PYTHON'
import json
import sys
from pathlib import Path


def errors(name):
    cases = json.loads((Path(sys.argv[1]) / name).read_text())["cases"]
    assert [c["method"] for c in cases if not c["peer"]] == ["exact"], cases
    return {c["method"]: c["error"] for c in cases if c["peer"] and c["ms_min"] > 0}


f16, q8_0 = errors("f16.json"), errors("q8_0.json")
assert f16["ops"] < 1e-3 and f16["fa"] < 0.1, f16
assert q8_0["fa"] < 1e-2, q8_0
PYTHON

if bench --type q8_0 --peer "ops=$peer ops" 2>"$work/refused"; then
    echo "quantised values with -fa off are not refused" >&2
    exit 1
fi
grep -q 'llama.cpp has them with -fa on only' "$work/refused"
