#!/usr/bin/env python3
"""Join the driver's results of all modes into one JSON and print the table.

    demo/report.py FOLDER OUT.json --eps EPS --delta DELTA [--times]

FOLDER holds MODE.json and MODE.logits as demo/driver.c writes them. Quality is measured against stock-fa-on on the same tokens:
mean Kullback-Leibler divergence of the next-token distributions, in nats, and the share of tokens with the same first choice. With
--times the table shows the model part in their place: what a model with random weights says means nothing.
"""
import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

MODES = ["stock-fa-on", "stock-fa-off", "exact", "sparse"]
REFERENCE = "stock-fa-on"


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def read_logits(folder, mode, shape):
    return np.fromfile(folder / f"{mode}.logits", dtype=np.float32).reshape(shape).astype(np.float64)


def compare(reference, other):
    p, q = log_softmax(reference), log_softmax(other)
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    return {
        "kl_mean": float(kl.mean()),
        "kl_max": float(kl.max()),
        "top1_agreement": float((p.argmax(axis=1) == q.argmax(axis=1)).mean()),
    }


def summary(result, reference, logits):
    statistics = result.get("statistics") or {}
    mode = {
        "name": result["name"],
        "ms_per_token": result["ms_per_token"],
        "tokens_per_s": 1e3 / result["ms_per_token"],
        "attention_ms_per_token": result["ms_per_token"] - result["ms_depth0"],
        "ms_mean": result["ms_mean"],
        "ms_first": result["ms_first"],
        "ms_depth0": result["ms_depth0"],
        "prompt_s": result["prompt_s"],
        **compare(reference, logits),
    }
    for key in ("rows_kv_fraction", "bytes_fraction", "heads", "index_bytes", "rounds_mean", "calibration_ms", "declined"):
        mode[key] = statistics.get(key)
    return mode


def cells(mode, times):
    def number(key, form, scale=1.0):
        return "-" if mode.get(key) is None else format(mode[key] * scale, form)

    heads = mode.get("heads")
    index = mode.get("index_bytes")
    quality = [number("kl_mean", ".5f"), number("top1_agreement", ".1f", 100.0)]
    return [
        mode["name"],
        number("tokens_per_s", ".1f"),
        number("ms_per_token", ".2f"),
        number("attention_ms_per_token", ".2f"),
        number("rows_kv_fraction", ".1f", 100.0),
        "-" if not heads else "/".join(str(heads[kind]) for kind in ("certified", "exact", "uncertified")),
        *([number("ms_depth0", ".2f")] if times else quality),
        "-" if not index else f"{index / 1e6:.1f}",
    ]


def headings(times):
    return ["mode", "tokens/s", "ms/token", "attention ms", "rows read %", "certified/exact/uncertified",
            *(["ms at depth 0"] if times else ["KL mean", "same top-1 %"]), "index MB"]


def table(modes, times):
    rows = [headings(times)] + [cells(mode, times) for mode in modes]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row):
        return "| " + " | ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))) + " |"

    rule = "|" + "|".join(("-" * (w + 1) + ("-" if i == 0 else ":")) for i, w in enumerate(widths)) + "|"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--eps", type=float, required=True)
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--times", action="store_true")
    args = parser.parse_args()

    results = [json.loads(path.read_text()) for mode in MODES if (path := args.folder / f"{mode}.json").exists()]
    if not results or results[0]["name"] != REFERENCE:
        sys.exit(f"report: {args.folder} holds no {REFERENCE}.json; run the driver first")
    first = results[0]
    shape = (first["n_decode"], first["n_vocab"])
    reference = read_logits(args.folder, REFERENCE, shape)
    modes = [summary(result, reference, read_logits(args.folder, result["name"], shape)) for result in results]

    report = {key: first[key] for key in ("host", "model", "threads", "n_prompt", "copies", "n_decode")}
    report |= {"eps": args.eps, "delta": args.delta, "modes": modes}
    args.out.write_text(json.dumps(report, indent=1) + "\n")

    copied = f" ({report['copies']} copies of {report['n_prompt'] // report['copies']})" if report["copies"] > 1 else ""
    print(f"\n{report['model']}, {report['n_prompt']} tokens of prompt{copied}, {report['n_decode']} decoded, {report['threads']} threads, "
          f"{report['host']}; eps {args.eps:g}, delta {args.delta:g}\n")
    print(table(modes, args.times))
    print("\nTimes are medians; attention ms = ms per token at this depth - at depth 0."
          + ("" if args.times else " KL and top-1 against stock-fa-on."))
    by_name = {mode["name"]: mode for mode in modes}
    if calibration := by_name.get("sparse", {}).get("calibration_ms"):
        print(f"The index was calibrated once, in {calibration:.0f} ms; the medians do not contain it.")
    # Without the first token, which may contain a calibration, mean and median of a calm run agree.
    later = {m["name"]: (m["ms_mean"] * n - m["ms_first"]) / (n - 1) for m in modes for n in [report["n_decode"]]}
    busy = [m["name"] for m in modes if later[m["name"]] > 1.3 * m["ms_per_token"] or m["attention_ms_per_token"] <= 0]
    if busy:
        print(f"Note: the machine was busy while these ran, do not trust their times: {', '.join(busy)} "
              f"(load average now {os.getloadavg()[0]:.1f})")
    else:
        stock = min((by_name[m] for m in MODES[:2] if m in by_name), key=lambda mode: mode["ms_per_token"])
        for name in MODES[2:]:
            if name in by_name:
                ratio = {key: stock[key] / by_name[name][key] for key in ("ms_per_token", "attention_ms_per_token")}
                print(f"{name}: {ratio['ms_per_token']:.2f} times as fast as the better stock path, "
                      f"{ratio['attention_ms_per_token']:.1f} times in attention")
    print(f"Written to {args.out}")


if __name__ == "__main__":
    main()
