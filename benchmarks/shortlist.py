"""The speed of a search with a shortlist, with the vocabulary of a large corpus and real sentences.

    python benchmarks/shortlist.py --output DIR --source train.en.gz --target train.fr.gz --preset student_6_1

learns 37,000 pieces and a shortlist from the two files. It translates sentences of the source greedily into exactly 30
tokens, by random weights, with and without the shortlist, in float32 and in 8-bit integers. The sentences are sorted
by length into batches of 64. Each case is measured in the way that is faster for it: one batch at a time, or two.

Each measurement runs in its own process, and a round measures every case once.
"""

import statistics
import tempfile
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results
from timing import repeat

TARGET, SEED = 30, 1  # tokens, END included
PRECISIONS = ("float32", "int8")
WAYS = {"together": 1, "apart": 2}  # the batches at a time


def prepare(source, target, folder, vocabulary_size, sentences):
    """Write a tokenizer, a shortlist and some sentences of the source into a folder."""
    from keras_transformer import Tokenizer, parallel_corpus
    from keras_transformer.files import read_lines
    from keras_transformer.translation import Shortlist

    tokenizer = Tokenizer.train([source, target], vocabulary_size)
    tokenizer.save(folder / "tokenizer.model")
    Shortlist.learn(parallel_corpus(source, target, tokenizer)).save(folder / "shortlist.npz")
    lines = [line for line in islice(read_lines(source), 20 * sentences) if 5 <= len(line.split()) <= 30]
    (folder / "sentences").write_text("\n".join(lines[:: len(lines) // sentences or 1][:sentences]) + "\n")


def measure(folder, preset, precision, with_shortlist, way, threads, seconds):
    """Return the median seconds for all sentences, their number, and the mean number of pieces that a batch has."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(max(1, threads // WAYS[way]))
    from keras_transformer import Tokenizer, Transformer, Translator
    from keras_transformer.translation import Shortlist

    keras.utils.set_random_seed(SEED)
    tokenizer = Tokenizer.load(f"{folder}/tokenizer.model")
    model = Transformer.from_preset(preset, vocabulary_size=tokenizer.vocabulary_size, dropout=0.0)
    if precision == "int8":
        model.quantize("int8")
    shortlist = Shortlist.load(f"{folder}/shortlist.npz") if with_shortlist else None
    options = {"beam_size": 1, "min_length": TARGET, "max_length": TARGET, "shortlist": shortlist}
    translator = Translator(model, tokenizer, **options)
    sentences = Path(f"{folder}/sentences").read_text().splitlines()
    timings = repeat(lambda: translator(sentences, workers=WAYS[way]), seconds, warm_up=1)
    return timings.median, len(sentences), pieces_of_batches(shortlist, tokenizer, sentences)


def pieces_of_batches(shortlist, tokenizer, sentences):
    """The mean number of pieces whose logits a batch of 64 computes."""
    import tensorflow as tf

    if shortlist is None:
        return tokenizer.vocabulary_size
    rows = sorted(tokenizer.encode(sentences), key=len)
    batches = [tf.ragged.constant(rows[start : start + 64]).to_tensor() for start in range(0, len(rows), 64)]
    return statistics.mean(len(shortlist.of_batch(tf.cast(batch, tf.int32))[0]) for batch in batches)


def table(results):
    """Return a table in Markdown. A search with a shortlist is compared with the same search without."""
    fastest = {}
    for result in results:
        case = result["preset"], result["precision"], result["shortlist"]
        fastest[case] = min([result, fastest.get(case, result)], key=lambda each: each["seconds"])
    rows = []
    for (preset, precision, with_shortlist), result in fastest.items():
        times = fastest[preset, precision, False]["seconds"] / result["seconds"]
        rate, name = result["sentences"] / result["seconds"], "with" if with_shortlist else "without"
        rows.append((preset, precision, name, f"{result['pieces']:,.0f}", f"{rate:.0f}", f"{times:.2f}"))
    return markdown_table(["preset", "precision", "shortlist", "pieces", "sentences/s", "times as fast"], rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for shortlist.json and .md.")],
    source: Annotated[Path, typer.Option(help="Source sentences of a corpus, plain or .gz.")],
    target: Annotated[Path, typer.Option(help="Their translations.")],
    preset: Annotated[list[str] | None, typer.Option(help="Presets; student_6_1 if none.")] = None,
    vocabulary_size: Annotated[int, typer.Option(help="Pieces to learn.")] = 37_000,
    sentences: Annotated[int, typer.Option(help="Sentences to translate.")] = 640,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each case is measured.")] = 3,
    seconds: Annotated[float, typer.Option(help="Time of each measurement, at least two passes.")] = 3.0,
):
    """Measure, and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(source, target, Path(folder), vocabulary_size, sentences)
        cases = [
            (folder, name, precision, with_shortlist, way, threads, seconds)
            for name in preset or ["student_6_1"]
            for precision in PRECISIONS
            for with_shortlist in (False, True)
            for way in WAYS
        ]
        measured = in_rounds(cases, lambda case: in_a_process(__file__, *case), rounds)
    names = ("preset", "precision", "shortlist", "way", "threads")
    results = []
    for case, found in zip(cases, measured, strict=True):
        times = [time for time, _, _ in found]
        _, count, pieces = found[0]
        figures = {"seconds": statistics.median(times), "rounds": times, "sentences": count, "pieces": pieces}
        results.append({**dict(zip(names, case[1:], strict=False)), **figures})
    write_results(output, "shortlist", results, table(results))


if __name__ == "__main__":
    run_script(main, measure)
