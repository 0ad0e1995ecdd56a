"""The size, BLEU and speed of exports whose weights are stored in fewer bits, on Multi30k's test_2016.

    python benchmarks/export_precision.py --model DIR --data DIR --output benchmarks/results/export_precision

exports a trained model in each precision and translates the test set with each export. The sentences are sorted by
length and come in batches of --batch. A round times every export once. The medians of all rounds are reported. With
--rounds 0 nothing is timed.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import tensorflow as tf
import typer
from processes import in_rounds
from results import markdown_table, write_results
from rich.progress import track
from timing import timed

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from translate_multi30k import SACREBLEU_TOKENIZE, corpus_files

from keras_transformer import Translator
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.export.graph.precision import PRECISIONS


def folder_size(path):
    """Return the bytes of all files under `path`."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def translate(serve, sentences, batch):
    """Return the translations of an export, in the order of `sentences`."""
    order = np.argsort([len(sentence) for sentence in sentences], kind="stable")[::-1]
    translations = [None] * len(sentences)
    for places in (order[i : i + batch] for i in range(0, len(order), batch)):
        texts = serve(sentences=tf.constant([sentences[i] for i in places]))["translations"].numpy()
        for i, text in zip(places, texts, strict=True):
            translations[i] = text.decode()
    return translations


def measure(folder, sentences, references, tokenize, batch, rounds):
    """Return a dictionary of figures for each precision. Its export is in `folder`, under the precision's name."""
    served = {name: tf.saved_model.load(str(folder / name)).signatures["serving_default"] for name in PRECISIONS}
    translations = {name: translate(served[name], sentences, batch) for name in track(PRECISIONS, "translating")}
    scores = {name: evaluate(translations[name], references, tokenize) for name in PRECISIONS}
    sizes = {name: folder_size(folder / name) for name in PRECISIONS}
    seconds = in_rounds(PRECISIONS, lambda name: timed(translate, served[name], sentences, batch)[0], rounds)
    results = {}
    for name, times in zip(PRECISIONS, seconds, strict=True):
        pairs = zip(translations[name], translations["float32"], strict=True)
        results[name] = {
            "bytes": sizes[name],
            "size_share": sizes[name] / sizes["float32"],
            "bleu": scores[name].bleu,
            "bleu_difference": scores[name].bleu - scores["float32"].bleu,
            "different_translations": sum(text != float32_text for text, float32_text in pairs),
            "signature": scores[name].bleu_signature,
        }
        if times:
            results[name]["sentences_a_second"] = len(sentences) / statistics.median(times)
    return results


def table(results, count):
    """Return a table in Markdown with a row for each precision."""
    header = ("weights", "MB", "of float32", "BLEU", "difference", "other translations", "sentences/s")
    rows = []
    for precision, r in results.items():
        size, score = (f"{r['bytes'] / 1e6:.2f}", f"{r['size_share']:.1%}"), f"{r['bleu']:.2f}"
        others = (f"{r['bleu_difference']:+.2f}", f"{r['different_translations']} of {count}")
        speed = f"{r['sentences_a_second']:.0f}" if "sentences_a_second" in r else ""
        rows.append((precision, *size, score, *others, speed))
    return markdown_table(header, rows)


def main(
    model: Annotated[Path, typer.Option(help="Folder of a model trained on Multi30k.")],
    output: Annotated[Path, typer.Option(help="Folder for export_precision.json and .md.")],
    data: Annotated[Path | None, typer.Option(help="Folder with the corpus; downloaded if not given.")] = None,
    variant: Annotated[str, typer.Option(help="raw or tok, as the model was trained.")] = "tok",
    beam: Annotated[int, typer.Option(help="Beam size.")] = 4,
    batch: Annotated[int, typer.Option(help="Sentences of a batch.")] = 64,
    rounds: Annotated[int, typer.Option(help="How often each export is timed.")] = 5,
):
    """Measure, and write the results."""
    translator = Translator.load(model, dtype="float32", beam_size=beam, length_penalty=0.6)
    sentences, references = zip(*read_pairs(*corpus_files(data, variant, ("en", "de"))["test"]), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        for precision in track(PRECISIONS, "exporting"):
            translator.export(Path(folder) / precision, precision=precision, check=False)
        tokenize = SACREBLEU_TOKENIZE[variant]
        results = measure(Path(folder), sentences, references, tokenize, batch, rounds)
    facts = {"beam": beam, "length_penalty": 0.6, "batch": batch, "rounds": rounds, "sentences": len(sentences)}
    text = table(results, len(sentences))
    write_results(output, "export_precision", {**facts, "results": results}, text)


if __name__ == "__main__":
    typer.run(main)
