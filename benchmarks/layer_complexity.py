"""Table 1 of the paper, measured: time and memory of four kinds of layers over the length n and the width d.

    python benchmarks/layer_complexity.py --output benchmarks/results/layer_complexity

The layers are self-attention, restricted self-attention (`window=r`), Keras' LSTM and Keras' Conv1D, in float32, with
one sequence. A forward pass is one call in a TensorFlow graph; a training pass adds the gradients of half the sum of
squares of the outputs, for all weights and inputs, and no optimizer. Attention is measured from projected heads to
heads, with heads of 64, because Table 1 does not count the four projections. It is measured with them too, where full
and restricted attention are compared.

Each measurement runs in its own process. Memory is the peak of resident memory (VmHWM of Linux) in passes over n
positions, less the memory after passes over `SHORT` positions, when inputs, weights and graphs are there. TensorFlow
keeps what it has used, so the peak of the training pass comes after that of the forward pass. The rounds go through
all cases in turn; the medians are reported.

An exponent is the slope of a line through the logarithms, by least squares. Its standard error comes from the
residuals. Only n from `FROM_N` and d from `FROM_D` count: for smaller ones, what the theory leaves out takes longer.

The longest path and the operations in sequence are counted (`layer_counts.py`), not measured.
"""

import functools
from pathlib import Path
from typing import Annotated

import layer_counts
import layer_kinds
import layer_tables
import numpy as np
import typer
from layer_tables import PASSES
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from processes import MIB, in_a_process, in_rounds, memory, reset_peak, run_script
from results import write_results
from timing import medians, repeat

LENGTHS = (256, 512, 768, 1024, 1536, 2048, 3072, 4096)
WIDTHS = (128, 256, 384, 512, 768, 1024)
FROM_N, FROM_D = 512, 256
SHORT = 8
COUNTED = ("longest_path", "operations_in_sequence")
COMPARED = {
    "heads": (layer_kinds.SELF, layer_kinds.RESTRICTED),
    "with projections": (layer_kinds.WHOLE, layer_kinds.WHOLE_RESTRICTED),
}


def measure(kind, n, d, window, kernel, threads, seconds):
    """Return the median seconds of each pass, and the growth of the peak of memory in it, in MiB."""
    import tensorflow as tf

    set_threads(threads)
    layer = layer_kinds.make_kind(kind, d, window, kernel)
    short, inputs = ([tf.constant(x) for x in layer.inputs(length)] for length in (SHORT, n))
    functions = layer_kinds.passes(layer)

    def call(name, inputs):
        return np.sum(tf.nest.flatten(functions[name](*inputs))[0][0, 0])  # so that it is over

    for name in PASSES:
        call(name, short)
    reset_peak()
    before, figures = memory("VmHWM"), {}
    for name in PASSES:
        timings = repeat(functools.partial(call, name, inputs), seconds, warm_up=1)
        figures |= {f"{name}_seconds": timings.median, f"{name}_mib": (memory("VmHWM") - before) / MIB}
    return figures


def set_threads(threads):
    """Limit TensorFlow, which must not have begun."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def exponent(points):
    """Return the slope of log y over log x by least squares, and its standard error: of [(x, y)], at least three."""
    x, y = np.log(np.array(points, "float64")).T
    spread = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread
    residuals = y - y.mean() - slope * (x - x.mean())
    return float(slope), float(np.sqrt((residuals**2).sum() / (len(x) - 2) / spread))


def fitted(curves):
    """Return an exponent for each kind, axis, pass and unit, as a list of dictionaries, beside the theory."""
    found = []
    for kind in layer_kinds.KINDS:
        for place, (axis, least) in enumerate((("n", FROM_N), ("d", FROM_D))):
            of_kind = [r for r in curves if r["kind"] == kind and r["varies"] == axis and r[axis] >= least]
            for quantity in (f"{name}_{unit}" for unit in ("seconds", "mib") for name in PASSES):
                points = [(r[axis], r[quantity]) for r in of_kind if r[quantity] > 0]
                if len(points) < 3:
                    continue
                slope, error = exponent(points)
                theory = layer_kinds.TIME if quantity.endswith("seconds") else layer_kinds.MEMORY
                facts = {"kind": kind, "axis": axis, "quantity": quantity, "points": len(points)}
                found.append(facts | {"exponent": slope, "standard_error": error, "theory": theory[kind][place]})
    return found


def draw(curves, path):
    """Draw time and memory of both passes over n and over d, in eight panels of a PNG file.

    Small layers may need no page of memory that the process has not had before. A panel of zeros has a linear scale.
    """
    figure = Figure(figsize=(18, 8), layout="constrained")
    rows = figure.subplots(2, 4)
    for axis, of_axis in zip("nd", rows, strict=True):
        quantities = [(name, unit) for name in PASSES for unit in ("seconds", "mib")]
        for axes, (name, unit) in zip(of_axis, quantities, strict=True):
            for kind in layer_kinds.KINDS:
                points = [(r[axis], r[f"{name}_{unit}"]) for r in curves if r["kind"] == kind and r["varies"] == axis]
                axes.plot(*zip(*points, strict=True), marker="o", label=kind)
            scale = "log" if any(line.get_ydata().max() > 0 for line in axes.get_lines()) else "linear"
            title = f"{name}: {'seconds' if unit == 'seconds' else 'growth of memory, MiB'}"
            axes.set(title=title, xlabel=axis, xscale="log", yscale=scale)
            axes.set_xticks([x for x, _ in points], [str(x) for x, _ in points], fontsize=8)
            axes.xaxis.set_minor_locator(NullLocator())
    rows[0][0].legend()
    FigureCanvasAgg(figure).print_png(str(path))


def ratios(compared):
    """Return full attention over restricted attention, for each of `COMPARED`: times and memory of each pass."""
    of = {r["kind"]: r for r in compared}
    quantities = [f"{name}_{unit}" for name in PASSES for unit in ("seconds", "mib")]
    return {
        what: {quantity: of[full][quantity] / max(of[restricted][quantity], 1e-9) for quantity in quantities}
        for what, (full, restricted) in COMPARED.items()
    }


def report(results):
    """Return the whole page in Markdown."""
    facts, exponents = results["facts"], results["exponents"]
    window, kernel = facts["window"], facts["kernel"]
    small_window, length, width = facts["counts_window"], facts["compare_length"], facts["compare_width"]
    parts = [
        f"Exponents of n, d = {facts['width']}, r = {window}, k = {kernel}, n from {FROM_N}:",
        layer_tables.exponents_table(exponents, "n"),
        f"Exponents of d, n = {facts['length']}, r = {window}, k = {kernel}, d from {FROM_D}:",
        layer_tables.exponents_table(exponents, "d"),
        f"Counted, r = {small_window}, k = {kernel}:",
        layer_tables.counts_table(results["counts"], small_window, kernel),
        f"Full and restricted attention, n = {length:,}, d = {width}, r = {window}:",
        layer_tables.comparison_table(results["compared"], results["ratios"]),
    ]
    return "\n\n".join(parts)


def main(
    output: Annotated[Path, typer.Option(help="Folder for layer_complexity.json, .md and .png.")],
    length: Annotated[list[int] | None, typer.Option(help=f"Lengths n; {LENGTHS} if none.")] = None,
    width: Annotated[list[int] | None, typer.Option(help=f"Widths d, multiples of 64; {WIDTHS} if none.")] = None,
    fixed_length: Annotated[int, typer.Option(help="n where d varies.")] = 512,
    fixed_width: Annotated[int, typer.Option(help="d where n varies.")] = 256,
    window: Annotated[int, typer.Option(help="r of restricted attention, odd.")] = 129,
    kernel: Annotated[int, typer.Option(help="k of the convolution, odd.")] = 3,
    count_length: Annotated[list[int], typer.Option(help="n where paths are counted.")] = [9, 17, 33, 65],  # noqa: B006
    count_window: Annotated[int, typer.Option(help="r where paths are counted, odd.")] = 9,
    compare_length: Annotated[int, typer.Option(help="n where full and restricted attention are compared.")] = 4096,
    compare_width: Annotated[int, typer.Option(help="d there.")] = 512,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time of each pass after one call, at least 2 calls.")] = 1.0,
    rounds: Annotated[int, typer.Option(help="How often each curve is measured.")] = 1,
    compare_rounds: Annotated[int, typer.Option(help="How often full and restricted attention take turns.")] = 5,
):
    """Measure, count, fit, draw, and write the results."""
    options = (window, kernel, threads, seconds)

    def measured(cases, rounds):
        found = in_rounds(cases, lambda case: in_a_process(__file__, *case[:3], *options), rounds)
        names = ("kind", "n", "d", "varies")
        return [
            dict(zip(names, case, strict=True)) | medians(of_case) | {"rounds": of_case}
            for case, of_case in zip(cases, found, strict=True)
        ]

    compared = [(kind, compare_length, compare_width, "") for pair in COMPARED.values() for kind in pair]
    curves = [(kind, n, fixed_width, "n") for n in length or LENGTHS for kind in layer_kinds.KINDS]
    curves += [(kind, fixed_length, d, "d") for d in width or WIDTHS for kind in layer_kinds.KINDS]
    facts = {
        **{"length": fixed_length, "width": fixed_width, "window": window, "kernel": kernel, "threads": threads},
        **{"compare_length": compare_length, "compare_width": compare_width, "counts_window": count_window},
    }
    results = {"facts": facts, "compared": measured(compared, compare_rounds), "curves": measured(curves, rounds)}
    results["ratios"] = ratios(results["compared"])
    results["exponents"] = fitted(results["curves"])
    results["counts"] = in_a_process(__file__, "count", count_length, count_window, kernel)
    write_results(output, "layer_complexity", results, report(results))
    draw(results["curves"], output / "layer_complexity.png")


def measure_or_count(what, *arguments):
    """What a process does: a measurement of a kind of layer, or all counts."""
    return layer_counts.count(*arguments) if what == "count" else measure(what, *arguments)


if __name__ == "__main__":
    run_script(main, measure_or_count)
