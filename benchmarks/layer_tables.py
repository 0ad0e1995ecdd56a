"""The tables of `layer_complexity.py`, in Markdown: for its own page and for the page of all results."""

import layer_counts
import layer_kinds
from results import markdown_table

PASSES = ("forward", "training")


def exponents_table(exponents, axis):
    """Return a table in Markdown with a row for each kind: the exponents of one axis beside the theory."""
    header = ["layer"]
    for unit in ("time", "memory"):
        header += [f"{unit}, theory", *(f"{unit}, {name}" for name in PASSES)]
    rows = []
    for kind in layer_kinds.KINDS:
        row = [kind]
        for unit in ("seconds", "mib"):
            of = {e["quantity"]: e for e in exponents if (e["kind"], e["axis"]) == (kind, axis)}
            theory = (layer_kinds.TIME if unit == "seconds" else layer_kinds.MEMORY)[kind]["nd".index(axis)]
            row.append(power(axis, theory))
            for name in PASSES:
                e = of.get(f"{name}_{unit}")
                row.append("" if e is None else f"{axis}^{e['exponent']:.2f} ± {e['standard_error']:.2f}")
        rows.append(row)
    return markdown_table(header, rows)


def power(axis, exponent):
    return axis if exponent == 1 else f"{axis}²"


def counts_table(counts, window, kernel):
    """Return a table in Markdown with a row for each kind: the counts for each length."""
    lengths = sorted({c["n"] for c in counts})
    places = ", ".join(map(str, lengths))
    header = ("layer", f"longest path, n = {places}", "formula", f"operations in sequence, n = {places}")
    rows = []
    for kind in dict.fromkeys(c["kind"] for c in counts):
        of_kind = {c["n"]: c for c in counts if c["kind"] == kind}
        formula = layer_counts.expected_path(kind, lengths[0], window, kernel)[1]
        columns = [
            ", ".join(str(of_kind[n][key]) for n in lengths) for key in ("longest_path", "operations_in_sequence")
        ]
        rows.append((kind, columns[0], formula, columns[1]))
    return markdown_table(header, rows)


def comparison_table(compared, ratios):
    """Return a table in Markdown: full and restricted attention, and how many times as much full attention needs."""
    header = ("attention", *(f"{name}, {unit}" for name in PASSES for unit in ("ms", "MiB")))
    rows = [
        (r["kind"], *(x for name in PASSES for x in (f"{r[f'{name}_seconds'] * 1e3:,.1f}", f"{r[f'{name}_mib']:,.0f}")))
        for r in compared
    ]
    for what, of in ratios.items():
        rows.append((f"ratio, {what}", *(f"**{ratio:.1f}**" for ratio in of.values())))
    return markdown_table(header, rows)
