# SPDX-License-Identifier: MIT
"""What the long tables are kept in: a CSV file with its conditions in front, a row a dataclass; and tables of Markdown made of it."""
import csv
import io
from dataclasses import astuple, fields


class Refused(Exception):
    """A file that no measurement can have written."""


def columns(kind):
    return [f.name for f in fields(kind)]


def write_csv(path, kind, conditions, rows, digits):
    text = io.StringIO()
    for name, value in conditions.items():
        text.write(f"# {name}: {value}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(kind))
    for row in rows:
        writer.writerow([f"{x:.{digits}g}" if isinstance(x, float) else x for x in astuple(row)])
    path.write_text(text.getvalue(), encoding="utf-8")


def read_csv(path, kind, check_row):
    """Conditions and rows; Refused, with the line, where a row is not one or check_row raises a ValueError."""
    conditions, lines = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            name, _, value = line[2:].partition(": ")
            conditions[name] = value
        else:
            lines.append(line)
    reader = csv.reader(lines)
    names = columns(kind)
    if next(reader, None) != names:
        raise Refused(f"{path}: the columns are not {','.join(names)}")
    rows = []
    for number, cells in enumerate(reader, len(conditions) + 2):
        try:
            if len(cells) != len(names):
                raise ValueError(f"{len(cells)} cells")
            rows.append(kind(*(f.type(cell) for f, cell in zip(fields(kind), cells))))
            check_row(rows[-1])
        except ValueError as error:
            raise Refused(f"{path}: line {number}: {error}") from None
    return conditions, rows


def demand(truth, what):
    if not truth:
        raise ValueError(what)


def table(rows):
    """Markdown; the first row is the head."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def percent(share):
    return f"{100 * share:.3g}" if share < 0.995 else f"{100 * share:.0f}"
