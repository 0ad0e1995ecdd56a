"""Decoding speed against CTranslate2 and Hugging Face with the same sizes, batches and threads.

    python benchmarks/decode.py --output DIR --preset multi30k_tiny --preset paper_base

decodes random sources of 25 tokens into exactly 30 tokens with random weights. So every contender does the same
number of steps. CTranslate2 has the same weights as ours. Hugging Face's MarianMTModel has the same sizes, and biases
in addition. `products` does the products with weights and nothing else: ours cannot be faster than that.

Each measurement runs in its own process, with nothing beside it. A round measures every contender once. The medians
of all rounds are reported.

There are two ways to use the threads. `together` puts all of them on one batch. `apart` decodes the two halves of a
batch at the same time, with half of the threads each.
"""

import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results
from timing import repeat

SOURCE, TARGET, SEED = 25, 30, 1  # tokens, END included in both
VOCABULARIES = {"multi30k_tiny": 10_000, "paper_base": 37_000}
CONTENDERS = (
    "ours",
    "ours bfloat16",
    "ours int8",
    "ours int8 bfloat16",
    "export",
    "export int8",
    "ctranslate2",
    "ctranslate2 int8",
    "huggingface",
    "products",
    "products bfloat16",
)
WAYS = ("together", "apart")


def sources(batch, vocabulary_size):
    """Return random ids (B, SOURCE) without reserved ones; the last id of each row is END."""
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
    """A substitute for a tokenizer: the piece with id i is "i"."""

    sentencepiece_models = (None, None)

    def __init__(self, size):
        self.vocabulary_size = size

    def pieces(self, ids):
        return [str(i) for i in ids]

    def save(self, path, overwrite=False):
        Path(path).write_text("none\n", encoding="utf-8")


def ours(preset, contender, beam, threads, folder, target=TARGET):
    """Return a function from ids (B, S) to the ids (B, `target`) of the best translations, one TensorFlow graph."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    from keras_transformer.decoding import beam_search, greedy_search
    from keras_transformer.decoding.beam import BeamOptions
    from keras_transformer.decoding.rules import Bounds
    from keras_transformer.export.graph.weights import Weights
    from keras_transformer.incremental import IncrementalDecoder
    from keras_transformer.translation.graph import SEGMENT

    model = make_model(preset, POLICIES[contender.partition(" ")[2]])
    decoder = IncrementalDecoder(model)

    def search(source, prepared):
        longest = tf.shape(source)[1] * 0 + target  # not known while the graph is built, as with real sentences
        limits = tf.fill([tf.shape(source)[0]], longest)
        state = decoder.start(model.encode(source), source, longest * 0, beam, weights=prepared)
        bounds = Bounds(limits, limits, ())
        if beam == 1:
            return greedy_search(decoder, state, bounds, longest, segment=SEGMENT).ids
        return beam_search(decoder, state, bounds, longest, BeamOptions(beam), segment=SEGMENT).ids

    def graph_of(function):
        signature = [tf.TensorSpec([None, None], tf.int32, name="source")]
        return tf.function(function, input_signature=signature, autograph=False)

    if not contender.startswith("export"):
        prepared = decoder.step_weights()
        graph = graph_of(lambda source: search(source, prepared))
        return lambda ids: graph(tf.constant(ids))[:, 0].numpy()
    weights = Weights([model], "float32")

    def served_search(source):
        with weights.scope():
            return search(source, *weights.step_weights())

    module, graph = tf.Module(), graph_of(served_search)
    module.search, module.weights = graph, weights.tracked
    tf.saved_model.save(module, str(folder / "export"), signatures={"serving_default": graph})
    served = tf.saved_model.load(str(folder / "export")).signatures["serving_default"]
    return lambda ids: served(source=tf.constant(ids))["output_0"][:, 0].numpy()


def products(preset, contender, beam, threads, folder):
    """Return a function that does only the products with weights, see `products.py`. It translates nothing."""
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
    """Return the same function with CTranslate2 and the same weights."""
    import ctranslate2

    from keras_transformer.interop import ctranslate2 as interop

    quantization = "int8" if contender.endswith("int8") else None
    if not (folder / "ctranslate2").exists():
        model = make_model(preset)
        interop.save(model, Pieces(model.vocabulary_size), folder / "ctranslate2", quantization=quantization)
    options = {"intra_threads": threads, "inter_threads": 2, "compute_type": quantization or "float32"}
    translator = ctranslate2.Translator(str(folder / "ctranslate2"), device="cpu", **options)

    def translate(ids):
        translations = translator.translate_batch(
            [[str(i) for i in row[:-1]] for row in ids],  # CTranslate2 adds END
            beam_size=beam,
            min_decoding_length=TARGET,
            max_decoding_length=TARGET,
            length_penalty=0.6,
            suppress_sequences=[["0"], ["2"]],
        )
        return np.array([[int(piece) for piece in result.hypotheses[0]] for result in translations])

    return translate


def huggingface(preset, contender, beam, threads, folder):
    """Return the same function with `generate` of a MarianMTModel of the same sizes."""
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
    """Return the median seconds of one batch. The timed batches take about `seconds` together."""
    makers = {"ours": ours, "export": ours, "ctranslate2": ctranslate2_translator}
    makers |= {"huggingface": huggingface, "products": products}
    ids = sources(batch, VOCABULARIES.get(preset, 281))
    parts = np.array_split(ids, 2) if way == "apart" else [ids]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(parts)) as pool:
        make = makers[contender.split()[0]]
        translate = make(preset, contender, beam, max(1, threads // len(parts)), Path(folder))
        timings = repeat(lambda: list(pool.map(translate, parts)), seconds)
    lengths = {translations.shape[1] for translations in timings.values[-1]}
    if not lengths <= {TARGET - 1, TARGET, TARGET + 1}:  # without END; with END; with END and START
        raise RuntimeError(f"{contender} gave translations of {lengths} tokens instead of {TARGET}.")
    return timings.median


def seconds_by_case(results):
    return {(r["preset"], r["batch"], r["beam"], r["contender"], r["way"]): r["seconds"] for r in results}


def table(results):
    """Return a table in Markdown with a row for each case and a column for each contender and way."""
    columns = list(dict.fromkeys((r["contender"], r["way"]) for r in results))
    seconds, rows = seconds_by_case(results), []
    for case in dict.fromkeys((r["preset"], r["batch"], r["beam"]) for r in results):
        values = [seconds.get((*case, *column)) for column in columns]
        cells = ["" if value is None else f"{value * 1e3:.0f} ms, {case[1] / value:.1f}/s" for value in values]
        rows.append([", ".join(map(str, case)), *cells])
    return markdown_table(["preset, batch, beam", *map(", ".join, columns)], rows)


def ratios(results):
    """Return a table in Markdown: how many times as fast as each other contender ours is, in the same way."""
    seconds, rows = seconds_by_case(results), []
    for (*case, contender, way), value in seconds.items():
        for own in [name for name in CONTENDERS if name.startswith("ours")]:
            own_value = seconds.get((*case, own, way))
            if own_value and not contender.startswith("ours"):
                rows.append((", ".join(map(str, [*case, way])), own, contender, f"{value / own_value:.2f}"))
    return markdown_table(("preset, batch, beam, way", "ours", "other", "times as fast"), rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for decode.json and decode.md.")],
    preset: Annotated[list[str] | None, typer.Option(help="Presets to measure.")] = None,
    contender: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONTENDERS)}; all if none.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch sizes; 1, 16 and 64 if none.")] = None,
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each contender is measured.")] = 1,
    seconds: Annotated[float, typer.Option(help="Time of each measurement after 2 batches, at least 2 batches.")] = 5.0,
):
    """Measure, and write the results."""
    cases = [
        (p, c, way, b, w, threads, seconds)
        for p in preset or VOCABULARIES
        for b in batch or (1, 16, 64)
        for w in beam or (1, 4)
        for c in contender or CONTENDERS
        for way in WAYS
        if way == "together" or (b > 1 and threads > 1 and c != "huggingface")
    ]
    measured = in_rounds(cases, lambda case: in_a_process(__file__, *case), rounds)
    names = ("preset", "contender", "way", "batch", "beam", "threads")
    results = [
        {**dict(zip(names, case, strict=False)), "seconds": statistics.median(times), "rounds": times}
        for case, times in zip(cases, measured, strict=True)
    ]
    write_results(output, "decode", results, f"{table(results)}\n\n{ratios(results)}")


if __name__ == "__main__":
    run_script(main, measure)
