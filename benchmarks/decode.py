"""Decoding speed against CTranslate2 and Hugging Face on the same sizes, batches and threads.

    python benchmarks/decode.py --output DIR --preset multi30k_tiny --preset paper_base

decodes random sources of 25 tokens into exactly 30 with random weights, so that every contender does the
same number of steps. Ours and CTranslate2 hold the same weights; Hugging Face's MarianMTModel has the same
sizes and biases besides. `products` is what ours takes at least: the products with weights and nothing else.
Each measurement is a process of its own, with nothing else running; a round measures every contender once,
and the medians of all rounds are reported.

Two ways to use the threads: `together`, all of them on one batch, and `apart`, a batch's halves at the
same time with half the threads each.
"""

import json
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from processes import in_a_process, median_seconds, write
from rich.console import Console
from rich.progress import Progress

SOURCE, TARGET, SEED = 25, 30, 1  # tokens, END included in both
VOCABULARIES = {"multi30k_tiny": 10_000, "paper_base": 37_000}
CONTENDERS = (
    "ours",
    "ours bfloat16",
    "ours int8",
    "ours int8 bfloat16",
    "export",
    "ctranslate2",
    "ctranslate2 int8",
    "huggingface",
    "products",
    "products bfloat16",
)
WAYS = ("together", "apart")


def sources(batch, vocabulary_size):
    """Random ids (B, SOURCE) without special ones, closed by END."""
    ids = np.random.default_rng(SEED).integers(4, vocabulary_size, (batch, SOURCE)).astype("int32")
    ids[:, -1] = 3
    return ids


POLICIES = {
    "": "float32",
    "bfloat16": "mixed_bfloat16",
    "int8": "int8_from_float32",
    "int8 bfloat16": "int8_from_mixed_bfloat16",
}


def make_model(preset, dtype="float32"):
    import keras

    from keras_transformer import Transformer

    keras.utils.set_random_seed(SEED)
    size = VOCABULARIES.get(preset, 281)
    return Transformer.from_preset(preset, vocabulary_size=size, dtype=dtype, dropout=0.0)


class Pieces:
    """Stands in for a tokenizer: piece i is called "i"."""

    def __init__(self, size):
        self.vocabulary_size = size

    def pieces(self, ids):
        return [str(i) for i in ids]

    def save(self, path, overwrite=False):
        Path(path).write_text("none\n", encoding="utf-8")


def ours(preset, contender, beam, threads, folder, target=TARGET):
    """A function from ids (B, S) to the best translations' `target` ids, in one TensorFlow graph."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    from keras_transformer.decoding import beam_search, greedy_search
    from keras_transformer.decoding.beam import BeamOptions
    from keras_transformer.decoding.rules import Bounds
    from keras_transformer.translation.graph import SEGMENT

    model = make_model(preset, POLICIES[contender.partition(" ")[2]])
    prepared = model.step_weights()

    def search(source):
        longest = tf.shape(source)[1] * 0 + target  # not known while the graph is built, as with real sentences
        limits = tf.fill([tf.shape(source)[0]], longest)
        state = model.start(model.encode(source), source, longest * 0, beam, weights=prepared)
        bounds = Bounds(limits, limits, ())
        if beam == 1:
            return greedy_search(model, state, bounds, longest, segment=SEGMENT).ids
        return beam_search(model, state, bounds, longest, BeamOptions(beam), segment=SEGMENT).ids

    signature = [tf.TensorSpec([None, None], tf.int32, name="source")]
    graph = tf.function(search, input_signature=signature, autograph=False)
    if contender != "export":
        return lambda ids: graph(tf.constant(ids))[:, 0].numpy()
    module = tf.Module()
    module.search, module.weights = graph, [variable.value for variable in model.weights]
    tf.saved_model.save(module, str(folder / "export"), signatures={"serving_default": graph})
    served = tf.saved_model.load(str(folder / "export")).signatures["serving_default"]
    return lambda ids: served(source=tf.constant(ids))["output_0"][:, 0].numpy()


def products(preset, contender, beam, threads, folder):
    """The least that ours can take: see `products.py`. It translates nothing."""
    import tensorflow as tf
    from products import decoding

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = make_model(preset, POLICIES[contender.partition(" ")[2]])
    signature = [tf.TensorSpec([None, None], tf.int32)]
    graph = tf.function(decoding(model, beam, TARGET), input_signature=signature, autograph=False)

    def run(ids):
        graph(tf.constant(ids)).numpy()
        return np.zeros((len(ids), TARGET), "int32")

    return run


def ctranslate2_translator(preset, contender, beam, threads, folder):
    """The same by CTranslate2 on the same weights; the tokens' names are their ids."""
    import ctranslate2

    from keras_transformer.interop import ctranslate2 as interop

    quantization = "int8" if contender.endswith("int8") else None
    if not (folder / "ctranslate2").exists():
        model = make_model(preset)
        interop.save(model, Pieces(model.vocabulary_size), folder / "ctranslate2", quantization=quantization)
    options = {"intra_threads": threads, "inter_threads": 2, "compute_type": quantization or "float32"}
    translator = ctranslate2.Translator(str(folder / "ctranslate2"), device="cpu", **options)

    def translate(ids):
        found = translator.translate_batch(
            [[str(i) for i in row[:-1]] for row in ids],  # END is added
            beam_size=beam,
            min_decoding_length=TARGET,
            max_decoding_length=TARGET,
            length_penalty=0.6,
            suppress_sequences=[["0"], ["2"]],
        )
        return np.array([[int(piece) for piece in result.hypotheses[0]] for result in found])

    return translate


def huggingface(preset, contender, beam, threads, folder):
    """The same by `generate` of a MarianMTModel of the same sizes."""
    import torch
    from marian_model import marian_model

    from keras_transformer.presets import preset as arguments

    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    model = marian_model(arguments(preset), VOCABULARIES.get(preset, 281), max_length=TARGET + 1).eval()

    def translate(ids):
        with torch.inference_mode():
            return model.generate(
                torch.tensor(ids.astype("int64")),
                attention_mask=torch.ones(ids.shape, dtype=torch.int64),
                num_beams=beam,
                do_sample=False,
                min_new_tokens=TARGET,
                max_new_tokens=TARGET,
            ).numpy()

    return translate


def measure(preset, contender, way, batch, beam, threads, seconds):
    """Median seconds of one batch after two warm-up batches, within about `seconds`."""
    makers = {"ours": ours, "export": ours, "ctranslate2": ctranslate2_translator}
    makers |= {"huggingface": huggingface, "products": products}
    ids = sources(batch, VOCABULARIES.get(preset, 281))
    parts = np.array_split(ids, 2) if way == "apart" else [ids]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(parts)) as pool:
        make = makers[contender.split()[0]]
        translate = make(preset, contender, beam, max(1, threads // len(parts)), Path(folder))
        median, found = median_seconds(lambda: list(pool.map(translate, parts)), seconds)
        lengths = {row.shape[1] for row in found}
        if not lengths <= {TARGET - 1, TARGET, TARGET + 1}:  # without END; with it; with START too
            raise RuntimeError(f"{contender} gave translations of {lengths} tokens instead of {TARGET}.")
    return median


def table(results):
    """Markdown: a row a case, a column a contender and way."""
    columns = list(dict.fromkeys((r["contender"], r["way"]) for r in results))
    cases = list(dict.fromkeys((r["preset"], r["batch"], r["beam"]) for r in results))
    seconds = {(r["preset"], r["batch"], r["beam"], r["contender"], r["way"]): r["seconds"] for r in results}
    lines = ["| preset, batch, beam | " + " | ".join(f"{c}, {w}" for c, w in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for preset, batch, beam in cases:
        cells = []
        for contender, way in columns:
            value = seconds.get((preset, batch, beam, contender, way))
            cells.append("" if value is None else f"{value * 1e3:.0f} ms, {batch / value:.1f}/s")
        lines.append(f"| {preset}, {batch}, {beam} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(results):
    """Markdown: how many times as fast as each other contender ours is, in the same way."""
    seconds = {(r["preset"], r["batch"], r["beam"], r["contender"], r["way"]): r["seconds"] for r in results}
    lines = ["| preset, batch, beam, way | ours | other | times as fast |", "|---|---|---|---|"]
    for (*case, contender, way), value in seconds.items():
        for own in [c for c in CONTENDERS if c.startswith("ours")]:
            mine = seconds.get((*case, own, way))
            if mine and not contender.startswith("ours"):
                lines.append(f"| {', '.join(map(str, case))}, {way} | {own} | {contender} | {value / mine:.2f} |")
    return "\n".join(lines)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for decode.json and decode.md.")] = None,
    preset: Annotated[list[str] | None, typer.Option(help="Presets to measure.")] = None,
    contender: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONTENDERS)}; all if none.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch sizes; 1, 16 and 64 if none.")] = None,
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="Times that each contender is measured.")] = 1,
    seconds: Annotated[float, typer.Option(help="Time for each measurement, at least 4 batches.")] = 5.0,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, and write what was found."""
    if worker:
        print(json.dumps(measure(*json.loads(worker))))
        return
    if output is None:
        raise typer.BadParameter("give a folder.", param_hint="--output")
    cases = [
        (p, c, way, b, w, threads, seconds)
        for p in preset or VOCABULARIES
        for b in batch or (1, 16, 64)
        for w in beam or (1, 4)
        for c in contender or CONTENDERS
        for way in WAYS
        if way == "together" or (b > 1 and threads > 1 and c != "huggingface")
    ]
    found = {case: [] for case in cases}
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=len(cases) * rounds)
        for _ in range(rounds):
            for case in cases:
                found[case].append(in_a_process(__file__, *case))
                bar.advance(task)
    names = ("preset", "contender", "way", "batch", "beam", "threads")
    results = [
        {**dict(zip(names, case, strict=False)), "seconds": statistics.median(times), "rounds": times}
        for case, times in found.items()
    ]
    write(output, "decode", results, f"{table(results)}\n\n{ratios(results)}")


if __name__ == "__main__":
    typer.run(main)
