"""What a student can gain at most from a cheaper self-attention in its decoder, and from fewer pieces to choose from.

    python benchmarks/student_bounds.py --output DIR --preset student_6_1 --preset student_256_6_1

decodes random sources greedily in 8-bit integers, as `decode.py` does: 25 tokens into exactly 30, random weights,
37,000 pieces. It measures the model as it is, and two models that are faster than anything that can be built:

- `no self-attention`: the self-attention of the decoder gives back what it is given. An SSRU has two products in the
  place of its four, so it is slower than this.
- `1,000 pieces`: a vocabulary of 1,000 pieces. A shortlist of 1,000 candidates for each sentence must gather their rows
  too, so it is slower than this.

Each measurement runs in its own process, and a round measures each once.
"""

import statistics
from pathlib import Path
from typing import Annotated

import decode
import typer
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results

WHOLE, NO_ATTENTION, FEW_PIECES = "whole", "no self-attention", "1,000 pieces"
PIECES = {WHOLE: 37_000, NO_ATTENTION: 37_000, FEW_PIECES: 1_000}
PRESETS = ("student_6_1", "student_6_2", "student_256_6_1")


def leave_out_self_attention():
    """Let the self-attention of every decoder layer of this process give back its input."""
    from keras_transformer import DecoderLayer

    connect = DecoderLayer.connect

    def without(self, x, attend_to_self, attend_to_memory, *others):
        return connect(self, x, lambda h: h, attend_to_memory, *others)

    DecoderLayer.connect = without


def measure(preset, variant, way, batch, threads, seconds):
    """Return the median seconds of one batch."""
    decode.VOCABULARIES[preset] = PIECES[variant]
    if variant == NO_ATTENTION:
        leave_out_self_attention()
    return decode.measure(preset, "ours int8", way, batch, 1, threads, seconds)


def table(results):
    """Return a table in Markdown. A variant is compared with the whole model in the way that is faster for each."""
    fastest = {}
    for result in results:
        case = result["preset"], result["variant"]
        fastest[case] = min(result["seconds"], fastest.get(case, result["seconds"]))
    rows = [
        (preset, variant, f"{seconds * 1e3:.0f} ms", f"{fastest[preset, WHOLE] / seconds:.2f}")
        for (preset, variant), seconds in fastest.items()
    ]
    return markdown_table(["preset", "decoder", "a batch", "times as fast"], rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for student_bounds.json and .md.")],
    preset: Annotated[list[str] | None, typer.Option(help=f"Presets; {', '.join(PRESETS)} if none.")] = None,
    batch: Annotated[int, typer.Option(help="Sentences in a batch.")] = 64,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each is measured.")] = 3,
    seconds: Annotated[float, typer.Option(help="Time of each measurement after 2 batches, at least 2 batches.")] = 3.0,
):
    """Measure, and write the results."""
    cases = [
        (name, variant, way, batch, threads, seconds)
        for name in preset or PRESETS
        for variant in PIECES
        for way in decode.WAYS
    ]
    measured = in_rounds(cases, lambda case: in_a_process(__file__, *case), rounds)
    names = ("preset", "variant", "way", "batch", "threads")
    results = [
        {**dict(zip(names, case, strict=False)), "seconds": statistics.median(times), "rounds": times}
        for case, times in zip(cases, measured, strict=True)
    ]
    write_results(output, "student_bounds", results, table(results))


if __name__ == "__main__":
    run_script(main, measure)
