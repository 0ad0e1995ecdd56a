"""A student against its teacher: speed and BLEU on real sentences, with ours and with CTranslate2.

    python benchmarks/students.py --output DIR --teacher runs/teacher --student runs/student --source test.en \
        --reference test.de

translates a file with the teacher by beam search and with the student greedily, in float32 and in 8-bit integers. A
`--control` is the student's model, trained without the teacher's translations. As in `decode_trained.py`, sentences are
sorted by length into batches of 64, there is no length penalty, and each contender runs in its own process. A round
measures every contender once. Each contender decodes in the way that is faster for it: `together`, with all threads on
one batch, or `apart`, with two batches at a time.
"""

import statistics
from pathlib import Path
from typing import Annotated, NamedTuple

import decode_trained
import typer
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results


class Contender(NamedTuple):
    """Which model translates, with what, and by a beam of which size."""

    model: str
    engine: str
    beam: int


CONTENDERS = [
    Contender("teacher", "ours", 4),
    Contender("teacher", "ours int8", 4),
    Contender("teacher", "ours int8", 1),
    Contender("student", "ours", 1),
    Contender("student", "ours int8", 1),
    Contender("control", "ours int8", 1),
    Contender("teacher", "ctranslate2", 4),
    Contender("teacher", "ctranslate2 int8", 4),
    Contender("teacher", "ctranslate2 int8", 2),
    Contender("teacher", "ctranslate2 int8", 1),
    Contender("student", "ctranslate2 int8", 1),
]
YARDSTICKS = {
    "/ ours": Contender("teacher", "ours int8", 4),
    "/ CTranslate2": Contender("teacher", "ctranslate2 int8", 4),
}


def table(results):
    """Return a table in Markdown. The ratios compare with the teacher in 8-bit integers, by beam search."""
    found = {Contender(*(result[name] for name in Contender._fields)): result for result in results}
    rows = []
    for contender, result in found.items():
        ratios = [result["sentences_per_second"] / found[each]["sentences_per_second"] for each in YARDSTICKS.values()]
        figures = (f"{result['sentences_per_second']:.0f}", result["way"], *(f"{ratio:.2f}" for ratio in ratios))
        rows.append((*contender, *figures, f"{result['bleu']:.2f}"))
    return markdown_table([*Contender._fields, "sentences/s", "way", *YARDSTICKS, "BLEU"], rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for students.json and .md.")],
    teacher: Annotated[Path, typer.Option(help="Its training folder.")],
    student: Annotated[Path, typer.Option(help="Its training folder.")],
    source: Annotated[Path, typer.Option(help="A file of sentences, one a line.")],
    reference: Annotated[Path, typer.Option(help="Their translations, for BLEU.")],
    control: Annotated[Path | None, typer.Option(help="The same model, trained without a teacher.")] = None,
    tokenize: Annotated[
        str, typer.Option(help="sacreBLEU's tokenizer; `none` for a reference that is tokenized already.")
    ] = "13a",
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each contender is measured.")] = 3,
    repeats: Annotated[int, typer.Option(help="Timed passes over the file in each process, after one more.")] = 1,
):
    """Measure, and write the results."""
    from keras_transformer.files import read_lines

    references, folders = list(read_lines(reference)), {"teacher": teacher, "student": student, "control": control}
    if len(references) != len(list(read_lines(source))):
        raise typer.BadParameter("must have as many lines as --source.", param_hint="--reference")
    contenders = [contender for contender in CONTENDERS if folders[contender.model] is not None]
    cases = [(contender, way) for contender in contenders for way in decode_trained.WAYS]

    def measure(case):
        (model, engine, beam), way = case
        options = (str(folders[model]), str(source), engine, way, beam, decode_trained.BATCH, threads, repeats)
        return in_a_process(decode_trained.__file__, *options)

    measured = dict(zip(cases, in_rounds(cases, measure, rounds), strict=True))
    results = []
    for contender in contenders:
        seconds = {
            way: statistics.median(figures["seconds"] for figures in measured[contender, way])
            for way in decode_trained.WAYS
        }
        way = min(seconds, key=seconds.get)
        pieces = [row for row, _ in measured[contender, way][0]["translations"]]
        bleu = decode_trained.bleu(folders[contender.model], pieces, references, tokenize)
        rate = {"sentences_per_second": len(references) / seconds[way], "way": way, "seconds": seconds}
        results.append({**contender._asdict(), "threads": threads, **rate, "bleu": bleu})
    write_results(output, "students", results, table(results))


if __name__ == "__main__":
    run_script(main, None)
