"""How the cost of decoding grows: over length, beam and batch, and the memory of the caches.

    python benchmarks/decode_curves.py --output DIR --preset multi30k_tiny --preset paper_base

decodes random sources of 25 tokens with random weights to exact lengths, as decode.py does, and draws the curves. The
memory is that of a process: how much its peak grows from the shortest length to the longest, against the keys and
values on paper: a slot for each token of each hypothesis, which is the most. Where hypotheses share their past, slots
that nobody descends from are dropped.
"""

import json
import resource
import tempfile
from pathlib import Path
from typing import Annotated

import decode
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from processes import in_a_process, median_seconds, write
from rich.console import Console
from rich.progress import Progress

LENGTHS, BEAMS, BATCHES = (16, 32, 64, 128, 256), (1, 2, 4, 8, 16), (1, 4, 16, 64)
BATCH, BEAM, LENGTH = 8, 4, 30  # where the others vary


def cache_bytes(preset, batch, beam, length):
    """Keys and values on paper, at most: 2 N (B W T + B S) D floats."""
    from keras_transformer.presets import preset as arguments

    sizes = arguments(preset)
    places = batch * (beam * length + decode.SOURCE)
    return 4 * 2 * sizes["num_decoder_layers"] * sizes["d_model"] * places


def measure(preset, batch, beam, length, threads, seconds):
    """Median seconds of a batch, and how the peak of memory grew from two tokens to `length`."""
    ids = decode.sources(batch, decode.VOCABULARIES.get(preset, 281))
    with tempfile.TemporaryDirectory() as folder:
        decode.ours(preset, "ours", beam, threads, Path(folder), target=2)(ids)
        translate = decode.ours(preset, "ours", beam, threads, Path(folder), target=length)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        median, found = median_seconds(lambda: translate(ids), seconds)
    if found.shape[1] != length:
        raise RuntimeError(f"{found.shape[1]} tokens came instead of {length}.")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"seconds": median, "peak_growth": grown}


def curves(results):
    """{title: (what varies, milliseconds per what, {preset: [(x, y)]})}."""
    found = {
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
        found[title][2].setdefault(r["preset"], []).append((x, y))
    return found


def draw(results, path):
    """A panel a curve, PNG."""
    panels = curves(results)
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, (title, (x_label, y_label, lines)) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for preset, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=preset)
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log", yscale="log")
        axes.set_xticks([x for x, _ in points], [str(x) for x, _ in points])
        axes.xaxis.set_minor_locator(NullLocator())
        for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            formatted("{x:g}")
        axes.legend()
    FigureCanvasAgg(figure).print_png(str(path))


def table(results):
    """Markdown: every measurement, and the caches' memory beside what it grew by."""
    lines = [
        "| preset | varies | batch | beam | length | ms a step | caches at most, MB | peak grew by, MB |",
        "|---" * 8 + "|",
    ]
    for r in results:
        lines.append(
            f"| {r['preset']} | {r['varies']} | {r['batch']} | {r['beam']} | {r['length']} | "
            f"{r['seconds'] / r['length'] * 1e3:.2f} | {r['cache_bytes'] / 1e6:.1f} | {r['peak_growth'] / 1e6:.1f} |"
        )
    return "\n".join(lines)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for decode_curves.json, .md and .png.")] = None,
    preset: Annotated[list[str] | None, typer.Option(help="Presets to measure.")] = None,
    length: Annotated[list[int] | None, typer.Option(help=f"Lengths; {LENGTHS} if none.")] = None,
    beam: Annotated[list[int] | None, typer.Option(help=f"Beams; {BEAMS} if none.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help=f"Batches; {BATCHES} if none.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time for each measurement, at least 4 batches.")] = 3.0,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, draw, and write what was found."""
    if worker:
        print(json.dumps(measure(*json.loads(worker))))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    cases = []
    for p in preset or decode.VOCABULARIES:
        cases += [(p, "length", BATCH, BEAM, x) for x in length or LENGTHS]
        cases += [(p, "beam", BATCH, x, LENGTH) for x in beam or BEAMS]
        cases += [(p, "batch", x, BEAM, LENGTH) for x in batch or BATCHES]
    results = []
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=len(cases))
        for p, varies, b, w, x in cases:
            facts = {"preset": p, "varies": varies, "batch": b, "beam": w, "length": x, "threads": threads}
            results.append(
                facts | in_a_process(__file__, p, b, w, x, threads, seconds) | {"cache_bytes": cache_bytes(p, b, w, x)}
            )
            bar.advance(task)
    write(output, "decode_curves", results, table(results))
    draw(results, output / "decode_curves.png")


if __name__ == "__main__":
    typer.run(main)
