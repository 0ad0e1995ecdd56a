"""What storing an export's weights in fewer bits saves and costs: folder size, BLEU and speed on Multi30k's test_2016.

    python benchmarks/export_precision.py --model DIR --data DIR --output benchmarks/results/export_precision

exports a trained folder in each precision and translates the test set with each export, in order of
length and batches of --batch. A round times every export once; the medians of all rounds are reported.
With --rounds 0 nothing is timed.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import tensorflow as tf
import typer
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from translate_multi30k import SACREBLEU_TOKENIZE, corpus_files

from keras_transformer import Translator
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.export.graph.precision import PRECISIONS
from keras_transformer.files import written_beside


def folder_size(path):
    """Bytes of all files under `path`."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def translate(serve, sentences, batch):
    """An export's translations, in the order of `sentences`, and the seconds they took."""
    order = np.argsort([len(sentence) for sentence in sentences], kind="stable")[::-1]
    found = [None] * len(sentences)
    start = time.perf_counter()
    for chosen in (order[i : i + batch] for i in range(0, len(order), batch)):
        texts = serve(sentences=tf.constant([sentences[i] for i in chosen]))["translations"].numpy()
        for i, text in zip(chosen, texts, strict=True):
            found[i] = text.decode()
    return found, time.perf_counter() - start


def measure(folder, sentences, references, tokenize, batch, rounds):
    """A dictionary of facts for each precision, whose exports stand in `folder`."""
    served = {one: tf.saved_model.load(str(folder / one)).signatures["serving_default"] for one in PRECISIONS}
    found = {one: translate(served[one], sentences, batch)[0] for one in track(PRECISIONS, "translating")}
    scores = {one: evaluate(found[one], references, tokenize) for one in PRECISIONS}
    sizes = {one: folder_size(folder / one) for one in PRECISIONS}
    results = {
        one: {
            "bytes": sizes[one],
            "size_share": sizes[one] / sizes["float32"],
            "bleu": scores[one].bleu,
            "bleu_difference": scores[one].bleu - scores["float32"].bleu,
            "different_translations": sum(a != b for a, b in zip(found[one], found["float32"], strict=True)),
            "signature": scores[one].bleu_signature,
        }
        for one in PRECISIONS
    }
    seconds = {precision: [] for precision in PRECISIONS}
    for _ in track(range(rounds), "timing"):
        for precision in PRECISIONS:
            seconds[precision].append(translate(served[precision], sentences, batch)[1])
    for precision, times in seconds.items():
        if times:
            results[precision]["sentences_a_second"] = len(sentences) / statistics.median(times)
    return results


def table(results, count):
    """Markdown: a row a precision."""
    lines = ["| weights | MB | of float32 | BLEU | difference | other translations | sentences/s |", "|---" * 7 + "|"]
    for precision, r in results.items():
        speed = f"{r['sentences_a_second']:.0f}" if "sentences_a_second" in r else ""
        lines.append(
            f"| {precision} | {r['bytes'] / 1e6:.2f} | {r['size_share']:.1%} | {r['bleu']:.2f} | "
            f"{r['bleu_difference']:+.2f} | {r['different_translations']} of {count} | {speed} |"
        )
    return "\n".join(lines)


def main(
    model: Annotated[Path, typer.Option(help="Folder of a model trained on Multi30k.")],
    output: Annotated[Path, typer.Option(help="Folder for export_precision.json and .md.")],
    data: Annotated[Path | None, typer.Option(help="Folder with the corpus; downloaded if not given.")] = None,
    variant: Annotated[str, typer.Option(help="raw or tok, as it was trained.")] = "tok",
    beam: Annotated[int, typer.Option(help="Beam size.")] = 4,
    batch: Annotated[int, typer.Option(help="Sentences a batch.")] = 64,
    rounds: Annotated[int, typer.Option(help="Times that each export is timed.")] = 5,
):
    """Measure, and write what was found."""
    translator = Translator.load(model, dtype="float32", beam_size=beam, length_penalty=0.6)
    sentences, references = zip(*read_pairs(*corpus_files(data, variant, ("en", "de"))["test"]), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        for precision in track(PRECISIONS, "exporting"):
            translator.export(Path(folder) / precision, precision=precision, check=False)
        tokenize = SACREBLEU_TOKENIZE[variant]
        results = measure(Path(folder), sentences, references, tokenize, batch, rounds)
    text = table(results, len(sentences))
    facts = {"beam": beam, "length_penalty": 0.6, "batch": batch, "rounds": rounds, "sentences": len(sentences)}
    written = json.dumps({**facts, "results": results}, indent=1)
    for name, lines in {"export_precision.json": written, "export_precision.md": text}.items():
        with written_beside(output / name, overwrite=True) as beside:
            beside.write_text(f"{lines}\n", encoding="utf-8")
    Console().print(text)


if __name__ == "__main__":
    typer.run(main)
