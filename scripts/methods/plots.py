# SPDX-License-Identifier: MIT
"""Error and misses against bytes read, one line a method, drawn by gnuplot from the rows of the table."""
import subprocess
import tempfile
from pathlib import Path

from .table import ALL

COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#dd8800", "#996633", "#555555"]
PANELS = ["paper-fixed", "paper-sdpa", "paper-sdpa-scores"]  # beside that of methods alone
PLOTS = [  # file, value, title of its axis, least value drawn
    ("methods-error", "error_mean", "mean relative error of the output", 5e-4),
    ("methods-above", "above", "share of outputs with an error above 5 %", 2e-4),
]


def curves_of(rows, rule):
    """Name and points of every line: our methods at each eps and others at each density, alone (rule ""), or under a rule."""
    curves = {}
    for row in sorted((r for r in rows if r.input == ALL), key=lambda r: (r.density, r.bytes)):
        if is_ours(row) and row.density == 0:
            curves.setdefault(row.method, []).append(row)
        elif row.density and (not is_ours(row) and row.method == rule or not (rule or row.on or is_ours(row))):
            curves.setdefault(row.on if rule else row.method, []).append(row)
    return curves


def is_ours(row):
    return row.method.startswith("sparse")


def panel(rows, rule, value, least, folder, title):
    """Lines with their names where methods are alone; under a rule those of its selectors alone are repeated, thin."""
    alone, plots = curves_of(rows, ""), []
    colours = dict(zip((name for name in alone if not name.startswith("sparse")), COLOURS)) | {"sparse": "black", "sparse-strict": "#777777"}

    def add(name, points, style, key):
        path = Path(folder) / f"{len(plots)}{rule}"
        path.write_text("".join(f"{100 * p.bytes:.4g} {max(getattr(p, value), least):.4g}\n" for p in points))
        plots.append(f"'{path}' with {style} lc rgb '{colours.get(name, 'black')}' " + (f"title '{name}'" if key else "notitle"))

    for name, points in curves_of(rows, rule).items():
        if rule and name in alone and not name.startswith("sparse"):
            add(name, alone[name], "lines lw 0.7 dt 2", False)
        add(name, points, f"linespoints lw {2.5 if name.startswith('sparse') else 1.5} pt 7 ps 0.3", not rule)
    return f"set title '{title}'\nplot " + ", \\\n".join(plots) + "\n" if plots else ""


def draw(rows, folder):
    for name, value, label, least in PLOTS:
        with tempfile.TemporaryDirectory() as data:
            script = f"""set terminal svg size 1000,900 font 'sans,11'
set output '{folder / name}.svg'
set logscale xy
set grid lc rgb '#dddddd'
set xlabel 'bytes read, % of all visible K and V (index included)'
set ylabel '{label}'
set xrange [1:150]
set yrange [{least}:1]
set key bottom left spacing 0.85
set multiplot layout 2,2
"""
            script += panel(rows, "", value, least, data, "each method alone")
            for rule in PANELS:
                if any(r.method == rule for r in rows):
                    script += panel(rows, rule, value, least, data, f"{rule} on each selector (thin: the selector alone)")
            subprocess.run(["gnuplot"], input=script + "unset multiplot\n", text=True, check=True)
