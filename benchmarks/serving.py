"""A trained model as a service: the export against other ways to serve the same weights.

    python benchmarks/serving.py --output DIR --model runs/en_de/model --sentences test.en

measures four contenders, each in its own processes, with nothing beside them:

- `export`: the SavedModel in a session, loaded as TensorFlow Serving loads it;
- `in process`: a `Translator`, called with lists of strings;
- `ctranslate2`: the same weights in CTranslate2, written by `keras_transformer.interop.ctranslate2`;
- `tutorial`: the greedy search of TensorFlow's tutorial. For every token it calls the Keras model on the whole prefix,
  and the encoder again.

All search without a length penalty, because the four understand that in the same way. "first, cold" is the first
request after loading. "first, warm" is the first request after the export's own warm-up records were replayed. Each
caller sends one sentence at a time. `callers.Batcher` gathers them into batches, in the same way for every contender.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from callers import throughput
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results
from serving_contenders import MAKERS, write_contenders
from timing import medians, timed

CALLERS = (1, 8, 32)


def measure(folder, contender, beam, threads, sentences):
    """Return one contender's figures, in seconds and sentences a second, and its translations."""
    load, translate = timed(MAKERS[contender], Path(folder), beam, threads)
    figures = {"load": load, "first, cold": timed(translate, [middle_of(sentences)])[0]}
    batches = [sentences[start : start + 16] for start in range(0, len(sentences), 16)]
    translations = [text for batch in batches for text in translate(batch)]  # afterwards no shape is new
    figures["batches of 16, sentences/s"] = len(sentences) / sum(timed(translate, batch)[0] for batch in batches)
    if contender != "tutorial":
        times = sorted(timed(translate, [sentence])[0] for sentence in sentences)
        figures["p50"], figures["p99"] = statistics.median(times), times[int(0.99 * (len(times) - 1) + 0.5)]
        for callers in CALLERS:
            figures[f"{callers} callers, sentences/s"] = throughput(translate, sentences, callers)
    return figures, translations


def measure_warm(folder, beam, threads, sentences):
    """Return the seconds of the export's warm-up and of its first request after that."""
    export = MAKERS["export"](Path(folder), beam, threads)
    warm_up, _ = timed(export.warm_up)
    return {"warm-up": warm_up, "first, warm": timed(export, [middle_of(sentences)])[0]}


def middle_of(sentences):
    """Return the sentence of median length."""
    return sorted(sentences, key=len)[len(sentences) // 2]


def run_worker(task, folder, *arguments):
    """Do one task of `main`: "write", "measure" or "warm"."""
    if task == "write":
        return write_contenders(Path(folder), Path(arguments[0]), *arguments[1:])
    return measure(folder, *arguments) if task == "measure" else measure_warm(folder, *arguments)


def ratios(results):
    """Return the ratios of figures that the project has goals for, as lines of text."""
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
    """Return a table in Markdown with a row for each contender and beam."""
    columns = list(dict.fromkeys(name for figures in results.values() for name in figures))
    rows = [
        (f"{beam}, {contender}", *(cell(name, figures.get(name)) for name in columns))
        for (beam, contender), figures in results.items()
    ]
    return markdown_table(("beam, contender", *columns), rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for serving.json and serving.md.")],
    model: Annotated[Path, typer.Option(help="A training folder.")],
    sentences: Annotated[Path, typer.Option(help="A file of sentences, one a line.")],
    count: Annotated[int, typer.Option(help="How many of its first lines are used.")] = 320,
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none. The tutorial's is 1.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each contender is measured.")] = 3,
):
    """Measure, and write the results."""
    lines = [line for line in sentences.read_text(encoding="utf-8").splitlines() if line.strip()][:count]
    beams = beam or [1, 4]
    cases = [(b, contender) for b in beams for contender in MAKERS if contender != "tutorial" or b == 1]
    translations = {}
    with tempfile.TemporaryDirectory() as folder:
        in_a_process(__file__, "write", folder, str(model), beams, lines)

        def measure_case(case):
            b, contender = case
            figures, translations[case] = in_a_process(__file__, "measure", folder, contender, b, threads, lines)
            if contender == "export":
                figures |= in_a_process(__file__, "warm", folder, b, threads, lines)
            return figures

        measured = in_rounds(cases, measure_case, rounds)
    results = {case: medians(of_case) for case, of_case in zip(cases, measured, strict=True)}
    for (b, contender), figures in results.items():
        pairs = zip(translations[b, contender], translations[b, "in process"], strict=True)
        figures["same strings"] = sum(text == expected for text, expected in pairs)
    rows = [
        {"beam": b, "contender": contender, "medians": figures, "rounds": of_case}
        for ((b, contender), figures), of_case in zip(results.items(), measured, strict=True)
    ]
    text = "\n".join([table(results), "", *(f"- {line}" for line in ratios(results))])
    write_results(output, "serving", rows, text)


if __name__ == "__main__":
    run_script(main, run_worker)
