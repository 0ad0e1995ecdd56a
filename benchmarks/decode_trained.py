"""Decoding speed of a trained model on real sentences, against CTranslate2 and transformers with the same weights.

    python benchmarks/decode_trained.py --output DIR --model runs/tok/model --source test.en

translates a file with `Translator`, with an export of it, with CTranslate2 and with `generate` of a MarianMTModel.
Sentences are sorted by length into batches of 64, or of each `--batch`, and there is no length penalty. The table says
how many translations are the same as CTranslate2's and, with a `--reference`, their BLEU.

Each contender runs in its own process. A round measures every contender once. The medians of all rounds are reported.
`together` puts all threads on one batch. `apart` decodes two batches at a time, with half of the threads each.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import decode
import typer
from processes import in_a_process, in_rounds, run_script
from results import markdown_table, write_results
from timing import repeat

BATCH, LONGEST = 64, 256
CONTENDERS = tuple(name for name in decode.CONTENDERS if not name.startswith("products"))
WAYS = ("together", "apart")


def share_threads(threads, way):
    """Return how many batches are decoded at a time, and how many threads each of them has."""
    workers = 2 if way == "apart" else 1
    return workers, max(1, threads // workers)


def ours(model, contender, way, beam, batch, threads):
    """Return a function from sentences to (pieces, log-probability) pairs."""
    import tensorflow as tf

    workers, threads_each = share_threads(threads, way)
    tf.config.threading.set_intra_op_parallelism_threads(threads_each)
    from keras_transformer import Translator

    dtype = decode.POLICIES[contender.partition(" ")[2]]
    translator = Translator.load(model, dtype, beam_size=beam, length_penalty=0.0, max_length=LONGEST)

    def translate(sentences):
        hypotheses = translator.n_best(sentences, 1, batch_size=batch, workers=workers)
        return [(best.tokens[: len(best.tokens) - best.finished], best.log_probability) for [best] in hypotheses]

    return translate


def export(model, contender, way, beam, batch, threads):
    """Return the same function with the signature `ids` of a SavedModel."""
    import numpy as np
    import tensorflow as tf

    workers, threads_each = share_threads(threads, way)
    tf.config.threading.set_intra_op_parallelism_threads(threads_each)
    from keras_transformer import Translator
    from keras_transformer.ids import END, PAD

    translator = Translator.load(model, "float32", beam_size=beam, length_penalty=0.0, max_length=LONGEST)
    tokenizer = translator.tokenizer
    with tempfile.TemporaryDirectory() as folder:
        translator.export(Path(folder) / "1", check=False)
        answer = tf.saved_model.load(str(Path(folder) / "1")).signatures["ids"]

    def translate_batch(rows):
        outputs = answer(source_ids=tf.ragged.constant([[*row, END] for row in rows], dtype=tf.int32).to_tensor(PAD))
        names = [tokenizer.pieces(ids[(ids != PAD) & (ids != END)]) for ids in outputs["ids"].numpy()]
        return list(zip(map(tuple, names), np.asarray(outputs["scores"]).tolist(), strict=True))

    return lambda sentences: in_batches(translate_batch, tokenizer.encode(sentences), batch, workers)


def huggingface(model, contender, way, beam, batch, threads):
    """Return the same function with transformers' `generate`."""
    import torch
    from as_marian import as_marian

    from keras_transformer import Translator
    from keras_transformer.ids import END, PAD, START

    torch.set_num_threads(threads)
    translator = Translator.load(model, "float32")
    marian, tokenizer = as_marian(translator.model), translator.tokenizer

    def translate_batch(rows):
        source = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor([*row, END]) for row in rows], batch_first=True, padding_value=PAD
        )
        with torch.inference_mode():
            outputs = marian.generate(
                source,
                attention_mask=(source != PAD).long(),
                num_beams=beam,
                do_sample=False,
                length_penalty=0.0,
                max_length=LONGEST + 1,
                suppress_tokens=[PAD, START],
                return_dict_in_generate=True,
                output_scores=beam > 1,
            )
        ids = outputs.sequences.numpy()[:, 1:]
        names = [tuple(tokenizer.pieces(row[(row != PAD) & (row != END)])) for row in ids]
        scores = outputs.sequences_scores.tolist() if beam > 1 else [float("nan")] * len(names)
        return list(zip(names, scores, strict=True))

    return lambda sentences: in_batches(translate_batch, tokenizer.encode(sentences), batch, workers=1)


def in_batches(translate, sources, batch, workers):
    """Translate the `sources` in batches by length, `workers` batches at a time. Return one result for each source."""
    from keras_transformer.translation.batches import at_the_same_time, by_length

    results = [None] * len(sources)
    batches = by_length(list(map(len, sources)), batch)
    for places, pairs in at_the_same_time(lambda places: translate([sources[i] for i in places]), batches, workers):
        for place, pair in zip(places, pairs, strict=True):
            results[place] = pair
    return results


def ctranslate2(model, contender, way, beam, batch, threads):
    """Return the same function with CTranslate2."""
    import ctranslate2 as engine

    from keras_transformer import Translator
    from keras_transformer.interop import ctranslate2 as interop

    translator = Translator.load(model, "float32")
    tokenizer, quantization = translator.tokenizer, "int8" if contender.endswith("int8") else None
    with tempfile.TemporaryDirectory() as folder:
        interop.save(translator.model, tokenizer, Path(folder) / "model", quantization=quantization)
        workers, threads_each = share_threads(threads, way)
        runtime = engine.Translator(
            str(Path(folder) / "model"),
            compute_type=quantization or "float32",
            intra_threads=threads_each,
            inter_threads=workers,
        )

    def translate(sentences):
        pieces = [tokenizer.pieces(ids) for ids in tokenizer.encode(sentences)]
        lengths = {"min_decoding_length": 0, "max_decoding_length": LONGEST}
        results = runtime.translate_batch(
            pieces, beam_size=beam, length_penalty=0, max_batch_size=batch, return_scores=True, **lengths
        )
        return [(tuple(result.hypotheses[0]), result.scores[0]) for result in results]

    return translate


def ways(contender):
    # PyTorch's threads belong to the process, not to one call. So transformers cannot decode two batches at a time.
    return WAYS[:1] if contender == "huggingface" else WAYS


def measure(model, source, contender, way, beam, batch, threads, repeats):
    """Return the median seconds of the whole file after one pass for warm-up, and the translations."""
    from keras_transformer.files import read_lines

    sentences = list(read_lines(source))
    makers = {"ours": ours, "export": export, "ctranslate2": ctranslate2, "huggingface": huggingface}
    make = makers[contender.split()[0]]
    translate = make(model, contender, way, beam, batch, threads)
    timings = repeat(lambda: translate(sentences), warm_up=1, fewest=repeats)
    return {"seconds": timings.median, "translations": timings.values[0]}


def agreement(translations, reference):
    """Count the translations that are the same, and give the largest difference of log-probability of the others."""
    pairs = list(zip(translations, reference, strict=True))
    differences = [
        abs(score - reference_score)
        for (pieces, score), (reference_pieces, reference_score) in pairs
        if pieces != reference_pieces
    ]
    return {
        "identical": len(pairs) - len(differences),
        "of": len(pairs),
        "largest_difference": max(differences, default=0.0),
    }


def bleu(model, translations, references, tokenize):
    """Return the BLEU of translations, lists of pieces, against strings."""
    from keras_transformer import Tokenizer
    from keras_transformer.evaluate import evaluate
    from keras_transformer.ids import END
    from keras_transformer.inputs.tokenizers import TOKENIZER_FILE
    from keras_transformer.translation.pieces import Pieces

    tokenizer = Tokenizer.load(model / TOKENIZER_FILE)
    ids = Pieces(tokenizer).ids
    texts = tokenizer.decode([[ids[name] for name in pieces if ids[name] != END] for pieces in translations])
    return evaluate(texts, references, tokenize).bleu


def table(results):
    """Return a table in Markdown with a row for each case. A ratio compares with CTranslate2 in the same way."""
    header = ("batch", "beam", "way", "contender", "sentences/s", "/ CTranslate2", "same as CTranslate2's", "BLEU")

    def setting(result):
        return result["batch"], result["beam"], result["way"]

    yardstick = {setting(r): r["seconds"] for r in results if r["contender"] == "ctranslate2"}
    rows = []
    for r in results:
        ratio = yardstick.get(setting(r), float("nan")) / r["seconds"]
        same = f"{r['agreement']['identical']} of {r['agreement']['of']}" if "agreement" in r else ""
        score = f"{r['bleu']:.2f}" if "bleu" in r else ""
        figures = (f"{r['sentences_per_second']:.0f}", f"{ratio:.2f}", same, score)
        rows.append((*setting(r), r["contender"], *figures))
    return markdown_table(header, rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for decode_trained.json and .md.")],
    model: Annotated[Path, typer.Option(help="A training folder.")],
    source: Annotated[Path, typer.Option(help="A file of sentences, one a line.")],
    reference: Annotated[Path | None, typer.Option(help="Their translations, for BLEU.")] = None,
    contender: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONTENDERS)}; all if none.")] = None,
    tokenize: Annotated[
        str, typer.Option(help="sacreBLEU's tokenizer; `none` for a reference that is tokenized already.")
    ] = "13a",
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help=f"Sentences of a batch; {BATCH} if none.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="How often each contender is measured.")] = 1,
    repeats: Annotated[int, typer.Option(help="Timed passes over the file in each process, after one more.")] = 3,
):
    """Measure, and write the results."""
    from keras_transformer.files import read_lines

    references = None if reference is None else list(read_lines(reference))
    if references is not None and len(references) != len(list(read_lines(source))):
        raise typer.BadParameter("must have as many lines as --source.", param_hint="--reference")
    batches, beams, contenders = batch or [BATCH], beam or (1, 4), contender or CONTENDERS
    cases = [(c, way, w, b) for b in batches for w in beams for c in contenders for way in ways(c)]
    measured = in_rounds(
        cases, lambda case: in_a_process(__file__, str(model), str(source), *case, threads, repeats), rounds
    )
    translations = {case: of_case[0]["translations"] for case, of_case in zip(cases, measured, strict=True)}
    results = []
    for case, of_case in zip(cases, measured, strict=True):
        c, way, w, size = case
        seconds = statistics.median(figures["seconds"] for figures in of_case)
        result = {"contender": c, "way": way, "beam": w, "batch": size, "threads": threads, "seconds": seconds}
        result["sentences_per_second"] = len(translations[case]) / seconds
        if yardstick := translations.get(("ctranslate2", way, w, size)):
            result["agreement"] = agreement(translations[case], yardstick)
        if references is not None:
            result["bleu"] = bleu(model, [pieces for pieces, _ in translations[case]], references, tokenize)
        results.append(result)
    write_results(output, "decode_trained", results, table(results))


if __name__ == "__main__":
    run_script(main, measure)
