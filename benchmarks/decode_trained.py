"""Decoding speed of a trained model on real sentences, against CTranslate2 and transformers with the same weights.

    python benchmarks/decode_trained.py --output DIR --model runs/tok/model --source test.en

translates a file with `Translator`, an export of it, CTranslate2 and a MarianMTModel's `generate`, batches of 64 by
length, without length penalty, and says how many translations are the same and, given a `--reference`, their BLEU.
Each contender is a process of its own; a round measures every contender once, and medians of all rounds are reported.
`together` puts all threads on one batch; `apart` decodes two batches at a time with half the threads each.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import decode
import typer
from processes import in_a_process, write
from rich.console import Console
from rich.progress import Progress

BATCH, LONGEST = 64, 256
CONTENDERS = tuple(each for each in decode.CONTENDERS if not each.startswith("products"))
WAYS = ("together", "apart")


def shared(threads, way):
    """How many batches at a time, and how many threads for each."""
    workers = 2 if way == "apart" else 1
    return workers, max(1, threads // workers)


def ours(model, contender, way, beam, threads):
    """A function from sentences to (pieces, log-probability) pairs."""
    import tensorflow as tf

    workers, of_each = shared(threads, way)
    tf.config.threading.set_intra_op_parallelism_threads(of_each)
    from keras_transformer import Translator

    dtype = decode.POLICIES[contender.partition(" ")[2]]
    translator = Translator.load(model, dtype, beam_size=beam, length_penalty=0.0, max_length=LONGEST)

    def translate(sentences):
        found = translator.n_best(sentences, 1, batch_size=BATCH, workers=workers)
        return [(best.tokens[: len(best.tokens) - best.finished], best.log_probability) for [best] in found]

    return translate


def export(model, contender, way, beam, threads):
    """The same by the signature `ids` of a SavedModel."""
    import numpy as np
    import tensorflow as tf

    workers, of_each = shared(threads, way)
    tf.config.threading.set_intra_op_parallelism_threads(of_each)
    from keras_transformer import Translator
    from keras_transformer.ids import END, PAD

    translator = Translator.load(model, "float32", beam_size=beam, length_penalty=0.0, max_length=LONGEST)
    tokenizer = translator.tokenizer
    with tempfile.TemporaryDirectory() as folder:
        translator.export(Path(folder) / "1", check=False)
        answer = tf.saved_model.load(str(Path(folder) / "1")).signatures["ids"]

    def one(rows):
        found = answer(source_ids=tf.ragged.constant([[*row, END] for row in rows], dtype=tf.int32).to_tensor(PAD))
        names = [tokenizer.pieces(ids[(ids != PAD) & (ids != END)]) for ids in found["ids"].numpy()]
        return list(zip(map(tuple, names), np.asarray(found["scores"]).tolist(), strict=True))

    return lambda sentences: in_batches(one, tokenizer.encode(sentences), workers)


def huggingface(model, contender, way, beam, threads):
    """The same by transformers' `generate`."""
    import torch
    from as_marian import as_marian

    from keras_transformer import Translator
    from keras_transformer.ids import END, PAD, START

    torch.set_num_threads(threads)
    translator = Translator.load(model, "float32")
    marian, tokenizer = as_marian(translator.model), translator.tokenizer

    def one(rows):
        source = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor([*row, END]) for row in rows], batch_first=True, padding_value=PAD
        )
        with torch.inference_mode():
            found = marian.generate(
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
        ids = found.sequences.numpy()[:, 1:]
        names = [tuple(tokenizer.pieces(row[(row != PAD) & (row != END)])) for row in ids]
        scores = found.sequences_scores.tolist() if beam > 1 else [float("nan")] * len(names)
        return list(zip(names, scores, strict=True))

    return lambda sentences: in_batches(one, tokenizer.encode(sentences), workers=1)


def in_batches(translate, sources, workers):
    """What `translate` gives for each of the `sources`, which go to it by length, so many batches at a time."""
    from keras_transformer.translation.batches import at_the_same_time, by_length

    results = [None] * len(sources)
    chosen = by_length(list(map(len, sources)), BATCH)
    for places, found in at_the_same_time(lambda places: translate([sources[i] for i in places]), chosen, workers):
        for place, one in zip(places, found, strict=True):
            results[place] = one
    return results


def ctranslate2(model, contender, way, beam, threads):
    """The same by CTranslate2."""
    import ctranslate2 as engine

    from keras_transformer import Translator
    from keras_transformer.interop import ctranslate2 as interop

    translator = Translator.load(model, "float32")
    tokenizer, quantization = translator.tokenizer, "int8" if contender.endswith("int8") else None
    with tempfile.TemporaryDirectory() as folder:
        interop.save(translator.model, tokenizer, Path(folder) / "model", quantization=quantization)
        workers, of_each = shared(threads, way)
        runtime = engine.Translator(
            str(Path(folder) / "model"),
            compute_type=quantization or "float32",
            intra_threads=of_each,
            inter_threads=workers,
        )

    def translate(sentences):
        pieces = [tokenizer.pieces(ids) for ids in tokenizer.encode(sentences)]
        lengths = {"min_decoding_length": 0, "max_decoding_length": LONGEST}
        found = runtime.translate_batch(
            pieces, beam_size=beam, length_penalty=0, max_batch_size=BATCH, return_scores=True, **lengths
        )
        return [(tuple(result.hypotheses[0]), result.scores[0]) for result in found]

    return translate


def ways(contender):
    return WAYS[:1] if contender == "huggingface" else WAYS  # whose threads are the process', not a call's


def measure(model, source, contender, way, beam, threads, repeats):
    """Median seconds of the whole file after one warm-up, and what was found."""
    from keras_transformer.files import read_lines

    sentences = list(read_lines(source))
    makers = {"ours": ours, "export": export, "ctranslate2": ctranslate2, "huggingface": huggingface}
    make = makers[contender.split()[0]]
    translate = make(model, contender, way, beam, threads)
    found, times = translate(sentences), []
    for _ in range(repeats):
        start = time.perf_counter()
        translate(sentences)
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "found": found}


def agreement(found, reference):
    """How many translations are the same, and the largest difference of log-probability among the others."""
    pairs = list(zip(found, reference, strict=True))
    others = [abs(one[1] - other[1]) for one, other in pairs if one[0] != other[0]]
    return {"identical": len(pairs) - len(others), "of": len(pairs), "largest_difference": max(others, default=0.0)}


def bleu(model, translations, references, tokenize):
    """BLEU of lists of pieces against strings."""
    from keras_transformer import Tokenizer
    from keras_transformer.evaluate import evaluate
    from keras_transformer.files import TOKENIZER_FILE
    from keras_transformer.ids import END
    from keras_transformer.translation.pieces import Pieces

    tokenizer = Tokenizer.load(model / TOKENIZER_FILE)
    ids = Pieces(tokenizer).ids
    texts = tokenizer.decode([[ids[name] for name in pieces if ids[name] != END] for pieces in translations])
    return evaluate(texts, references, tokenize).bleu


def table(results):
    """Markdown: a row a case; times as fast as CTranslate2 of float32 in the same way."""
    lines = [
        "| beam | contender | way | sentences/s | / CTranslate2 float32 | same as CTranslate2's | BLEU |",
        "|---" * 7 + "|",
    ]
    yardstick = {(r["beam"], r["way"]): r["seconds"] for r in results if r["contender"] == "ctranslate2"}
    for r in results:
        ratio = yardstick.get((r["beam"], r["way"]), float("nan")) / r["seconds"]
        same = r.get("agreement")
        same = f"{same['identical']} of {same['of']}" if same else ""
        bleu = f"{r['bleu']:.2f}" if "bleu" in r else ""
        lines.append(
            f"| {r['beam']} | {r['contender']} | {r['way']} | {r['sentences_per_second']:.0f} | {ratio:.2f} | {same} "
            f"| {bleu} |"
        )
    return "\n".join(lines)


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for decode_trained.json and .md.")] = None,
    model: Annotated[Path | None, typer.Option(help="A training folder.")] = None,
    source: Annotated[Path | None, typer.Option(help="Sentences, one a line.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Their translations, for BLEU.")] = None,
    contender: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CONTENDERS)}; all if none.")] = None,
    tokenize: Annotated[
        str, typer.Option(help="sacreBLEU's tokenizer; none for a reference that is tokenised.")
    ] = "13a",
    beam: Annotated[list[int] | None, typer.Option(help="Beams; 1 and 4 if none.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads for each contender.")] = 2,
    rounds: Annotated[int, typer.Option(help="Processes for each contender.")] = 1,
    repeats: Annotated[int, typer.Option(help="Passes of the file in each process, after one more.")] = 3,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
):
    """Measure, and write what was found."""
    if worker:
        print(json.dumps(measure(*json.loads(worker))))
        return
    for name, value in (("--output", output), ("--model", model), ("--source", source)):
        if value is None:
            raise typer.BadParameter("is needed.", param_hint=name)
    from keras_transformer.files import read_lines

    references = None if reference is None else list(read_lines(reference))
    if references is not None and len(references) != len(list(read_lines(source))):
        raise typer.BadParameter("has not as many lines as --source.", param_hint="--reference")
    cases = [(c, way, w) for w in beam or (1, 4) for c in contender or CONTENDERS for way in ways(c)]
    runs = {case: [] for case in cases}
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=len(cases) * rounds)
        for _ in range(rounds):
            for case in cases:
                runs[case].append(in_a_process(__file__, str(model), str(source), *case, threads, repeats))
                bar.advance(task)
    results = []
    for (c, way, w), found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        result = {"contender": c, "way": way, "beam": w, "threads": threads, "seconds": seconds}
        result["sentences_per_second"] = len(found[0]["found"]) / seconds
        if yardstick := runs.get(("ctranslate2", way, w)):
            result["agreement"] = agreement(found[0]["found"], yardstick[0]["found"])
        if references is not None:
            result["bleu"] = bleu(model, [pieces for pieces, _ in found[0]["found"]], references, tokenize)
        results.append(result)
    write(output, "decode_trained", results, table(results))


if __name__ == "__main__":
    typer.run(main)
