#!/bin/bash
# A short run of the demo: its JSON is complete, exact mode equals the stock program up to rounding, sparse mode keeps its word.
source tests/host/host.sh

run=("$driver" -m "$model" -f "$text" -o "$work" -p 2500 -n 16)
"${run[@]}" stock-fa-on
GGML_BACKEND_PATH=$plugin VATTN_METHOD=sparse VATTN_EPS=0.05 VATTN_DELTA=0.05 "${run[@]}" exact sparse
.venv/bin/python demo/report.py "$work" "$work/demo.json" --eps 0.05 --delta 0.05
.venv/bin/python - "$work/demo.json" <<'PYTHON'
import json
import sys

report = json.load(open(sys.argv[1]))
modes = {mode["name"]: mode for mode in report["modes"]}
for mode in modes.values():
    missing = {"ms_per_token", "tokens_per_s", "attention_ms_per_token", "kl_mean", "top1_agreement", "rows_kv_fraction", "heads"} - mode.keys()
    assert not missing, (mode["name"], missing)

exact, sparse = modes["exact"], modes["sparse"]
# The stock kernel adds values up in half precision, so even two correct programs differ by some thousandths.
assert exact["kl_mean"] < 0.02, exact
assert exact["rows_kv_fraction"] == 1.0, exact
assert exact["heads"]["uncertified"] == 0 and exact["heads"]["certified"] == 0, exact
assert sparse["kl_mean"] < 0.03, sparse
assert sparse["heads"]["uncertified"] == 0 and sparse["heads"]["certified"] > 0, sparse
assert 0 < sparse["rows_kv_fraction"] < 0.9, sparse
assert sparse["index_bytes"] > 0, sparse
PYTHON
