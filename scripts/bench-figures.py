#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Time against keys, against eps, and against what memory allows: docs/results/bench.md, .json and three plots.

Everything is `vattn bench` on synthetic layers: our methods (sparse with the model of cost, as in the plug-in), plain streaming and
the peers take turns in one run for each number of keys. Peers: llama.cpp's two ways of attention where scripts/build-driver.sh has built them, PyTorch where it is installed.

  scripts/bench-figures.py                        32 heads on 8 KV heads of 128, 1,024 to 131,072 keys
  scripts/bench-figures.py --heads 14 --kv-heads 2 --head-dim 64 -o /tmp/qwen
"""
import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GGML = ROOT / "build/demo-driver/vattn-peer-ggml"
TORCH = ROOT / "scripts/peer-torch.py"
KEYS = "1024,2048,4096,8192,16384,32768,65536,131072"
EPS = [0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2]
COLOURS = {"exact": "#4477aa", "sparse": "black", "ggml-fa": "#ee6677", "ggml-ops": "#dd8800", "torch": "#228833"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vattn", default=ROOT / "build/release/tools/vattn", help="the command (default: the release build)")
    parser.add_argument("--heads", default="32")
    parser.add_argument("--kv-heads", default="8")
    parser.add_argument("--head-dim", default="128")
    parser.add_argument("--keys", default=KEYS, help=f"numbers of keys (default {KEYS})")
    parser.add_argument("--at", default="32768", help="number of keys of the plot against eps (default 32768)")
    parser.add_argument("--type", default="f16")
    parser.add_argument("--repeat", default="4", help="turns over all layers (default 4)")
    parser.add_argument("--layers", help="layers in turn (default: so many that the cache is cold)")
    parser.add_argument("--python", default=sys.executable, help="interpreter that may have PyTorch (default: this one)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/results", help="folder (default docs/results)")
    return parser.parse_args()


def peers(args):
    found = [f"ggml-{way}={GGML} {way}" for way in ("fa", "ops") if GGML.exists() and not (way == "ops" and args.type == "q8_0")]
    has_torch = subprocess.run([args.python, "-c", "import numpy, torch"], capture_output=True).returncode == 0
    return found + ([f"torch={args.python} {TORCH}"] if has_torch and args.type != "q8_0" else [])


def bench(args, *more):
    shape = ["--heads", args.heads, "--kv-heads", args.kv_heads, "--head-dim", args.head_dim, "--type", args.type]
    shape += ["--layers", args.layers] if args.layers else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.json"
        subprocess.run([args.vattn, "bench", *shape, "--repeat", args.repeat, "--param", "fastest=1", *more, "--json", path], check=True)
        return json.loads(path.read_text())


def measure(args):
    """Cases of both sweeps; the times of the sweep over eps are those of all processors."""
    flags = [word for peer in peers(args) for word in ("--peer", peer)]
    runs = [bench(args, "--keys", keys, *flags) for keys in args.keys.split(",")]
    machine = runs[0]["machine"]
    by_keys = [case for run in runs for case in run["cases"]]
    by_eps = [case for eps in EPS for case in bench(args, "--keys", args.at, "--eps", str(eps))["cases"]]
    return {"machine": machine, "shape": shape_of(args), "by_keys": by_keys, "by_eps": by_eps}


def shape_of(args):
    return f"{args.heads} heads on {args.kv_heads} KV heads of {args.head_dim}, {args.type}"


def table(result):
    machine, lines = result["machine"], []
    lines.append(f"# {result['shape']}: a decode step of one layer\n")
    lines.append(f"Written by `make bench`. {machine['cpu']}, tier {machine['tier']}, {result['by_keys'][0]['threads']} threads, vattn "
                 f"{machine['vattn']}; synthetic layers, cold cache, everything of a line in one run in turn; ms, the least of all turns (median).\n")
    lines.append("`error`: the relative distance of a peer's output from the exact one on these keys. `sparse` keeps eps = delta = .05; where its "
                 "model of cost says so it answers exactly.\n")
    names = list(dict.fromkeys(case["method"] for case in result["by_keys"]))
    lines.append("| keys | streaming | " + " | ".join(names) + " | sparse: rows, bytes | best peer over exact, over sparse |")
    lines.append("|---|" + "---|" * (len(names) + 3))
    for n in dict.fromkeys(case["n"] for case in result["by_keys"]):
        cases = {case["method"]: case for case in result["by_keys"] if case["n"] == n}
        cells = [f"{c['ms_min']:.2f} ({c['ms_median']:.2f})" + (f", error {c['error']:.1g}" if c["peer"] else "") for c in cases.values()]
        best = min((c["ms_min"] for c in cases.values() if c["peer"]), default=None)
        ratios = f"{best / cases['exact']['ms_min']:.1f}, {best / cases['sparse']['ms_min']:.1f}" if best else ""
        sparse, whole = cases["sparse"], cases["exact"]["bytes"]
        lines.append(f"| {n:,} | {sparse['stream_ms_min']:.2f} | " + " | ".join(cells) +
                     f" | {sparse['rows_kv_fraction']:.1%}, {sparse['bytes'] / whole:.1%} | {ratios} |")
    rates = result["by_keys"][-1]
    lines.append(f"\nMemory at {rates['n']:,} keys: {rates['stream_gb_s']:.1f} GB/s in order, {rates['gather_gb_s']:.1f} GB/s for rows of K by "
                 "themselves, one in 24.\n")
    lines += [f"![{alt}](bench-{name}.svg)" for name, alt in (("keys", "time against keys"), ("eps", "time against eps"),
                                                              ("limit", "time against bytes, both relative to streaming"))]
    return "\n".join(lines) + "\n"


def plot(folder, name, title, x_label, y_label, curves, extra="", more=()):
    with tempfile.TemporaryDirectory() as data:
        drawn = list(more)
        for method, points in curves.items():
            path = Path(data) / method
            path.write_text("".join(f"{x:.6g} {y:.6g}\n" for x, y in points))
            colour = COLOURS.get(method, "#777777")
            style = "points pt 7 ps 0.6" if name == "limit" else f"linespoints lw {2.5 if method == 'sparse' else 1.5} pt 7 ps 0.4"
            drawn.append(f"'{path}' with {style} lc rgb '{colour}' title '{method}'")
        script = f"""set terminal svg size 760,520 font 'sans,12'
set output '{folder / f"bench-{name}.svg"}'
set title '{title}'
set logscale xy
set grid lc rgb '#dddddd'
set key top left
set xlabel '{x_label}'
set ylabel '{y_label}'
{extra}
plot {", ".join(drawn)}
"""
        subprocess.run(["gnuplot"], input=script, text=True, check=True)


def by_method(cases, x, y):
    curves = {}
    for case in cases:
        curves.setdefault(case["method"], []).append((x(case), y(case)))
    return curves


def draw(result, folder):
    shape, keys, eps = result["shape"], result["by_keys"], result["by_eps"]
    streaming = {"streaming": sorted({(c["n"], c["stream_ms_min"]) for c in keys})}
    plot(folder, "keys", f"{shape}: one decode step of a layer", "visible keys", "ms",
         by_method(keys, lambda c: c["n"], lambda c: c["ms_min"]) | streaming, extra="set xrange [:200000]")
    sparse = [c for c in eps if c["method"] == "sparse"]
    exact = [c["ratio_to_stream"] for c in eps if c["method"] == "exact"]
    ends = (min(c["eps"] for c in sparse), max(c["eps"] for c in sparse))
    flat = {"exact": sum(exact) / len(exact), "streaming": 1}
    plot(folder, "eps", f"{shape}, {eps[0]['n']:,} keys", "eps (delta .05)", "time, of streaming all K and V in the same run",
         by_method(sparse, lambda c: c["eps"], lambda c: c["ratio_to_stream"]) | {name: [(x, y) for x in ends] for name, y in flat.items()},
         extra="set key bottom left\nset xrange [0.015:0.25]\nset yrange [0.1:5]")
    whole = {c["n"]: c["bytes"] for c in keys + eps if c["method"] == "exact"}
    plot(folder, "limit", f"{shape}: what memory allows is the line", "bytes read, of all K and V", "time, of streaming all K and V",
         by_method(keys + eps, lambda c: c["bytes"] / whole[c["n"]], lambda c: c["ratio_to_stream"]),
         extra="set xrange [0.02:2]", more=["x with lines lc rgb '#999999' title 'bytes at the rate of streaming'"])


def main():
    args = arguments()
    if shutil.which("gnuplot") is None:
        sys.exit("bench-figures: no gnuplot; run scripts/install-deps.sh")
    args.output.mkdir(parents=True, exist_ok=True)
    result = measure(args)
    (args.output / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.output / "bench.md").write_text(table(result))
    draw(result, args.output)
    print(f"bench-figures: {args.output / 'bench.md'}")


if __name__ == "__main__":
    main()
