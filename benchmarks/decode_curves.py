"""How the cost of decoding grows with length, beam and batch, and how much memory the caches take.

    python benchmarks/decode_curves.py --output DIR --preset multi30k_tiny --preset paper_base

decodes random sources of 25 tokens with random weights to exact lengths, as decode.py does, and draws the curves.

The memory is that of the process: the growth of its peak from the shortest length to the longest. It is compared with
the keys and values on paper, a slot for each token of each hypothesis. That is an upper bound: where hypotheses share
their past, decoding drops the slots that no hypothesis needs any more.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import decode
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from processes import in_a_process, in_rounds, memory, run_script
from results import markdown_table, write_results
from timing import repeat

LENGTHS, BEAMS, BATCHES = (16, 32, 64, 128, 256), (1, 2, 4, 8, 16), (1, 4, 16, 64)
BATCH, BEAM, LENGTH = 8, 4, 30  # fixed while another one varies


def cache_bytes(preset, batch, beam, length):
    """Return the most that keys and values take on paper: 2 N (B W T + B S) D floats."""
    from keras_transformer.presets import preset as arguments

    sizes = arguments(preset)
    places = batch * (beam * length + decode.SOURCE)
    return 4 * 2 * sizes["num_decoder_layers"] * sizes["d_model"] * places


def measure(preset, batch, beam, length, threads, seconds):
    """Return the median seconds of a batch, and the growth of the peak of memory from two tokens to `length`."""
    ids = decode.sources(batch, decode.VOCABULARIES.get(preset, 281))
    with tempfile.TemporaryDirectory() as folder:
        decode.ours(preset, "ours", beam, threads, Path(folder), target=2)(ids)
        translate = decode.ours(preset, "ours", beam, threads, Path(folder), target=length)
        before = memory("VmHWM")
        timings = repeat(lambda: translate(ids), seconds)
    if timings.values[-1].shape[1] != length:
        raise RuntimeError(f"{timings.values[-1].shape[1]} tokens came instead of {length}.")
    return {"seconds": timings.median, "peak_growth": memory("VmHWM") - before}


def curves(results):
    """Return {title: (label of x, label of y, {preset: [(x, y)]})}."""
    panels = {
        "time a step, over length": ("tokens decoded", "ms a step", {}),
        "time a hypothesis' token, over beam": ("beam", "ms a token", {}),
        "time a sentence, over batch": ("batch", "ms a sentence", {}),
    }
    for r in results:
        ms = r["seconds"] * 1e3
        points = {
            "length": ("time a step, over length", r["length"], ms / r["length"]),
            "beam": ("time a hypothesis' token, over beam", r["beam"], ms / r["length"] / r["batch"] / r["beam"]),
            "batch": ("time a sentence, over batch", r["batch"], ms / r["batch"]),
        }
        title, x, y = points[r["varies"]]
        panels[title][2].setdefault(r["preset"], []).append((x, y))
    return panels


def draw(results, path):
    """Draw each curve in its own panel of a PNG file."""
    panels = curves(results)
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, (title, (x_label, y_label, lines)) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for preset, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=preset)
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log", yscale="log")
        axes.set_xticks([x for x, _ in points], [str(x) for x, _ in points])
        axes.xaxis.set_minor_locator(NullLocator())
        for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            set_formatter("{x:g}")
        axes.legend()
    FigureCanvasAgg(figure).print_png(str(path))


def table(results):
    """Return a table in Markdown with a row for each measurement."""
    header = ("preset", "varies", "batch", "beam", "length", "ms a step", "caches at most, MB", "peak grew by, MB")
    rows = []
    for r in results:
        ms, caches, growth = r["seconds"] / r["length"] * 1e3, r["cache_bytes"] / 1e6, r["peak_growth"] / 1e6
        case = [r[name] for name in header[:5]]
        rows.append([*case, f"{ms:.2f}", f"{caches:.1f}", f"{growth:.1f}"])
    return markdown_table(header, rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for decode_curves.json, .md and .png.")],
    preset: Annotated[list[str] | None, typer.Option(help="Presets to measure.")] = None,
    length: Annotated[list[int] | None, typer.Option(help=f"Lengths; {LENGTHS} if none.")] = None,
    beam: Annotated[list[int] | None, typer.Option(help=f"Beams; {BEAMS} if none.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help=f"Batches; {BATCHES} if none.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time of each measurement after 2 batches, at least 2 batches.")] = 3.0,
):
    """Measure, draw, and write the results."""
    cases = []
    for p in preset or decode.VOCABULARIES:
        cases += [(p, "length", BATCH, BEAM, x) for x in length or LENGTHS]
        cases += [(p, "beam", BATCH, x, LENGTH) for x in beam or BEAMS]
        cases += [(p, "batch", x, BEAM, LENGTH) for x in batch or BATCHES]

    def measure_case(case):
        p, varies, b, w, x = case
        facts = {"preset": p, "varies": varies, "batch": b, "beam": w, "length": x, "threads": threads}
        figures = in_a_process(__file__, p, b, w, x, threads, seconds)
        return facts | figures | {"cache_bytes": cache_bytes(p, b, w, x)}

    results = [result for [result] in in_rounds(cases, measure_case)]
    write_results(output, "decode_curves", results, table(results))
    draw(results, output / "decode_curves.png")


if __name__ == "__main__":
    run_script(main, measure)
