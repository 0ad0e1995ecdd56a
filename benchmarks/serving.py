"""A trained model as a service: the exported graph against other ways to serve the same weights.

    python benchmarks/serving.py --output DIR --model runs/en_de/model --sentences test.en

measures, each in processes of its own with nothing else running:

- `export`: the SavedModel in a session, loaded as TF Serving does;
- `in process`: `Translator` called with lists of strings;
- `ctranslate2`: the same weights, written by `keras_transformer.interop.ctranslate2`;
- `tutorial`: greedy search as TensorFlow's tutorial writes it, which calls the Keras model for every token on the whole
  prefix, encoder included.

All search without a length penalty, which the four understand alike. "first, cold" is the first request after loading,
"first, warm" the same after the export's own warm-up records were replayed. Callers send one sentence at a time; behind
them `callers.Batcher` gathers batches, the same for every contender.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from callers import throughput, timed
from processes import in_a_process, write
from rich.console import Console
from rich.progress import Progress
from serving_contenders import MAKERS, write_contenders

CALLERS = (1, 8, 32)


def measure(folder, contender, beam, threads, sentences):
    """Seconds and sentences a second of one contender, and its translations."""
    load, translate = timed(MAKERS[contender], Path(folder), beam, threads)
    middle = sorted(sentences, key=len)[len(sentences) // 2]
    found = {"load": load, "first, cold": timed(translate, [middle])[0]}
    batches = [sentences[start : start + 16] for start in range(0, len(sentences), 16)]
    texts = [text for batch in batches for text in translate(batch)]  # and every shape has been seen
    found["batches of 16, sentences/s"] = len(sentences) / sum(timed(translate, batch)[0] for batch in batches)
    if contender != "tutorial":
        times = sorted(timed(translate, [sentence])[0] for sentence in sentences)
        found["p50"], found["p99"] = statistics.median(times), times[int(0.99 * (len(times) - 1) + 0.5)]
        for callers in CALLERS:
            found[f"{callers} callers, sentences/s"] = throughput(translate, sentences, callers)
    return found, texts


def measure_warm(folder, beam, threads, sentences):
    """Seconds of the export's first request after its warm-up."""
    export = MAKERS["export"](Path(folder), beam, threads)
    warm_up, _ = timed(export.warm_up)
    return {"warm-up": warm_up, "first, warm": timed(export, [sorted(sentences, key=len)[len(sentences) // 2]])[0]}


def run_worker(what, folder, *arguments):
    if what == "write":
        return write_contenders(Path(folder), Path(arguments[0]), *arguments[1:])
    return measure(folder, *arguments) if what == "measure" else measure_warm(folder, *arguments)


def medians(rounds):
    return {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}


def ratios(results):
    """The figures that have a goal, in words."""
    lines = []
    for beam in dict.fromkeys(beam for beam, _ in results):
        export, ours = results[beam, "export"], results[beam, "in process"]
        rates = [name for name in ours if name.endswith("/s")]
        slowest = min(export[name] / ours[name] for name in rates)
        lines.append(f"beam {beam}: export / in process, the least of {len(rates)} throughputs: {slowest:.3f}")
        lines.append(f"beam {beam}: p50 of export / in process: {export['p50'] / ours['p50']:.3f}")
        lines.append(f"beam {beam}: first request, warm / p50: {export['first, warm'] / export['p50']:.2f}")
    if (1, "tutorial") in results:
        name = "batches of 16, sentences/s"
        times = results[1, "export"][name] / results[1, "tutorial"][name]
        lines.append(f"beam 1, batches of 16: export / tutorial: {times:.1f}")
    return lines


def cell(name, value):
    if value is None:
        return ""
    return f"{value:.1f}" if "/s" in name else str(value) if name == "same strings" else f"{1e3 * value:.1f} ms"


def table(results):
    """Markdown: a row a contender and beam."""
    columns = list(dict.fromkeys(name for found in results.values() for name in found))
    lines = ["| beam, contender | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for (beam, contender), found in results.items():
        cells = " | ".join(cell(name, found.get(name)) for name in columns)
        lines.append(f"| {beam}, {contender} | {cells} |")
    return "\n".join(lines)


def report(output, results, rounds):
    """`serving.json` with every round, `serving.md` with the medians and their ratios, which are printed too."""
    rows = [
        {"beam": case[0], "contender": case[1], "medians": found, "rounds": rounds[case]}
        for case, found in results.items()
    ]
    text = "\n".join([table(results), "", *(f"- {line}" for line in ratios(results))])
    write(output, "serving", rows, text)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for serving.json and serving.md.")] = None,
    model: Annotated[Path | None, typer.Option(help="A folder that training wrote.")] = None,
    sentences: Annotated[Path | None, typer.Option(help="A file of sentences, one a line.")] = None,
    count: Annotated[int, typer.Option(help="How many of its first lines.")] = 320,
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none. The tutorial's is 1.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="Times that each contender is measured.")] = 3,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, and write what was found."""
    if worker:
        print(json.dumps(run_worker(*json.loads(worker))))
        return
    for name, value in (("--output", output), ("--model", model), ("--sentences", sentences)):
        if value is None:
            raise typer.BadParameter("is needed.", param_hint=name)
    lines = [line for line in sentences.read_text(encoding="utf-8").splitlines() if line.strip()][:count]
    beams = beam or [1, 4]
    cases = [(b, contender) for b in beams for contender in MAKERS if contender != "tutorial" or b == 1]
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=len(cases) * rounds + 1)
        in_a_process(__file__, "write", folder, str(model), beams, lines)
        bar.advance(task)
        found, texts = {case: [] for case in cases}, {}
        for _ in range(rounds):
            for b, contender in cases:
                times, texts[b, contender] = in_a_process(__file__, "measure", folder, contender, b, threads, lines)
                if contender == "export":
                    times |= in_a_process(__file__, "warm", folder, b, threads, lines)
                found[b, contender].append(times)
                bar.advance(task)
    results = {case: medians(times) for case, times in found.items()}
    for b, contender in cases:
        expected = texts[b, "in process"]
        results[b, contender]["same strings"] = sum(map(str.__eq__, texts[b, contender], expected))
    report(output, results, found)


if __name__ == "__main__":
    typer.run(main)
