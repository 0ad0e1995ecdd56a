"""The size, BLEU, speed and memory of exports in fewer bits, on Multi30k's test_2016.

    python benchmarks/export_precision.py --model DIR --data DIR --output benchmarks/results/export_precision

exports a trained model in each precision, and once to multiply in 8-bit integers, and translates the test set with each
export. The sentences are sorted by length and come in batches of --batch. A round times every export once. The medians
of all rounds are reported. With --rounds 0 nothing is timed. The memory is that of a process which loads an export as a
server does and translates the test set once.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import tensorflow as tf
import typer
from processes import MIB, in_a_process, in_rounds, memory, run_script
from results import markdown_table, write_results
from rich.progress import track
from timing import timed

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from translate_multi30k import SACREBLEU_TOKENIZE, corpus_files

from keras_transformer import Translator
from keras_transformer.data import read_pairs
from keras_transformer.evaluate import evaluate
from keras_transformer.export.graph.precision import PRECISIONS

# The options of each export.
EXPORTS = {**{name: {"precision": name} for name in PRECISIONS}, "int8, multiplied": {"compute": "int8"}}


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


def resident(path, sentences, batch):
    """The memory of this process in bytes, with an export that a session has loaded and that has translated."""
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        served = v1.saved_model.load(session, ["serve"], path).signature_def["serving_default"]
        for start in range(0, len(sentences), batch):
            feed = {served.inputs["sentences"].name: sentences[start : start + batch]}
            session.run(served.outputs["translations"].name, feed)
        return memory("VmRSS")


def measure(folder, sentences, references, tokenize, batch, rounds):
    """Return a dictionary of figures for each export. `folder` holds it under its name in `EXPORTS`."""
    served = {name: tf.saved_model.load(str(folder / name)).signatures["serving_default"] for name in EXPORTS}
    translations = {name: translate(served[name], sentences, batch) for name in track(EXPORTS, "translating")}
    scores = {name: evaluate(translations[name], references, tokenize) for name in EXPORTS}
    sizes = {name: folder_size(folder / name) for name in EXPORTS}
    seconds = in_rounds(list(EXPORTS), lambda name: timed(translate, served[name], sentences, batch)[0], rounds)
    results = {}
    for name, times in zip(EXPORTS, seconds, strict=True):
        pairs = zip(translations[name], translations["float32"], strict=True)
        results[name] = {
            "bytes": sizes[name],
            "size_share": sizes[name] / sizes["float32"],
            "memory": in_a_process(__file__, str(folder / name), sentences, batch),
            "bleu": scores[name].bleu,
            "bleu_difference": scores[name].bleu - scores["float32"].bleu,
            "different_translations": sum(text != float32_text for text, float32_text in pairs),
            "signature": scores[name].bleu_signature,
        }
        if times:
            results[name]["sentences_a_second"] = len(sentences) / statistics.median(times)
    return results


def table(results, count):
    """Return a table in Markdown with a row for each export."""
    header = ("weights", "MB", "of float32", "memory, MiB", "BLEU", "difference", "other translations", "sentences/s")
    rows = []
    for name, r in results.items():
        size = f"{r['bytes'] / 1e6:.2f}", f"{r['size_share']:.1%}", f"{r['memory'] / MIB:,.0f}"
        score = f"{r['bleu']:.2f}"
        others = (f"{r['bleu_difference']:+.2f}", f"{r['different_translations']} of {count}")
        speed = f"{r['sentences_a_second']:.0f}" if "sentences_a_second" in r else ""
        rows.append((name, *size, score, *others, speed))
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
    sentences, references = map(list, zip(*read_pairs(*corpus_files(data, variant, ("en", "de"))["test"]), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        for name, options in track(EXPORTS.items(), "exporting"):
            translator.export(Path(folder) / name, check=False, **options)
        tokenize = SACREBLEU_TOKENIZE[variant]
        results = measure(Path(folder), sentences, references, tokenize, batch, rounds)
    facts = {"beam": beam, "length_penalty": 0.6, "batch": batch, "rounds": rounds, "sentences": len(sentences)}
    text = table(results, len(sentences))
    write_results(output, "export_precision", {**facts, "results": results}, text)


if __name__ == "__main__":
    run_script(main, resident)
