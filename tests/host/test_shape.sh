#!/bin/bash
# Models with random weights (scripts/make-shape.py) load, are made once and have the scores that they should have; rows copied by the
# host are the same to every mode.
source tests/host/host.sh

make_tiny() { .venv/bin/python scripts/make-shape.py --shape tiny --models "$work" --texts "$work" 2>"$work/made"; }

paths=$(make_tiny)
mapfile -t files <<<"$paths"
first=$(sha256sum "${files[@]}")
make_tiny >/dev/null
grep -q 'already there' "$work/made"
truncate -s -1 "${files[0]}"
make_tiny >/dev/null
grep -q 'ready in' "$work/made"
[ "$(sha256sum "${files[@]}")" = "$first" ]

decode() { # FOLDER PROMPT COPIES MODE...
    mkdir -p "$work/$1"
    "$driver" -m "${files[0]}" -f "${files[1]}" -o "$work/$1" -p "$2" -c "$3" -n 16 -t 1 "${@:4}"
}
decode three 1024 3 stock-fa-on
decode three 1024 3 stock-fa-off
decode one 1024 1 stock-fa-off
export GGML_BACKEND_PATH=$plugin VATTN_METHOD=sparse VATTN_EPS=0.05 VATTN_DELTA=0.05 VATTN_FASTEST=0
export VATTN_CAPTURE=$work/captures VATTN_CAPTURE_STEPS=8 VATTN_CAPTURE_SKIP=100 # 48 steps a mode are at depth 0
mkdir "$VATTN_CAPTURE"
decode three 1024 3 exact sparse
table=$(.venv/bin/python demo/report.py "$work/three" "$work/three.json" --eps 0.05 --delta 0.05 --times)
grep -q '3072 tokens of prompt (3 copies of 1024), 16 decoded' <<<"$table"
grep -q 'ms at depth 0' <<<"$table"

.venv/bin/python - "$work" <<'PYTHON'
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

work = Path(sys.argv[1])


def logits(folder, mode):
    rows = np.fromfile(work / folder / f"{mode}.logits", dtype=np.float32).reshape(16, 512).astype(np.float64)
    return rows - rows.mean(axis=1, keepdims=True)


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(a)


stock = logits("three", "stock-fa-off")
exact = distance(stock, logits("three", "exact"))
sparse = distance(stock, logits("three", "sparse"))
fewer = distance(stock, logits("one", "stock-fa-off"))
print(f"relative distance of the logits: exact {exact:.5f}, sparse {sparse:.5f}, without copies {fewer:.5f}")
assert exact < 0.2 * fewer, "exact sees other rows than the stock program"
assert sparse < 0.5 * fewer, "sparse sees other rows than the stock program"

statistics = {mode: json.load(open(work / "three" / f"{mode}.json")) for mode in ("exact", "sparse")}
assert all(result["n_prompt"] == 3072 and result["copies"] == 3 for result in statistics.values()), statistics
heads = statistics["sparse"]["statistics"]["heads"]
assert heads["uncertified"] == 0 and heads["certified"] > 0, heads

for path in sorted((work / "captures").iterdir()):
    capture = {name: tensor.astype(np.float32) for name, tensor in load_file(path).items()}
    k, group = capture["k"], capture["q"].shape[1] // capture["k"].shape[0]
    assert k.shape[:2] == (2, 3072 + 4 + 8) and group == 4, k.shape
    scores = np.stack([capture["q"][:, h] @ k[h // group].T / k.shape[2] ** 0.5 for h in range(capture["q"].shape[1])])
    common = np.linalg.norm(capture["v"].mean(axis=1), axis=1) ** 2 / (capture["v"] ** 2).sum(axis=2).mean(axis=1)
    spread = scores.std(axis=2)
    print(f"{path.name}: spread {spread.mean():.2f} ({spread.min():.2f} to {spread.max():.2f}), common part of the values {common.mean():.2f}")
    assert 2.2 < spread.mean() < 2.8, spread
    assert 0.4 < common.mean() < 0.6, common
assert len(list((work / "captures").iterdir())) == 2
PYTHON
