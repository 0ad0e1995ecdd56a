"""What a shortlist costs in BLEU.

    python benchmarks/shortlist_bleu.py --output DIR --model runs/student --source train.en --target train.de \
        --valid-source val.en --valid-target val.de

learns a shortlist from the training data. It translates the validation data with and without it, greedily and with
beam 4, in float32 and in 8-bit integers.
"""

from pathlib import Path
from typing import Annotated

import typer
from results import markdown_table, write_results

BEAMS, POLICIES = (1, 4), {"float32": "float32", "int8": "int8_from_float32"}


def table(results):
    """Return a table in Markdown."""
    rows = [
        (
            result["precision"],
            result["beam"],
            *(f"{result['bleu'][name]:.2f}" for name in ("without", "with")),
            f"{result['same']:,} of {result['sentences']:,}",
        )
        for result in results
    ]
    return markdown_table(["precision", "beam", "BLEU without", "with", "same translations"], rows)


def main(
    output: Annotated[Path, typer.Option(help="Folder for shortlist_bleu.json and .md.")],
    model: Annotated[Path, typer.Option(help="A training folder.")],
    source: Annotated[Path, typer.Option(help="Source sentences of its training data.")],
    target: Annotated[Path, typer.Option(help="Their translations.")],
    valid_source: Annotated[Path, typer.Option(help="Sentences to translate.")],
    valid_target: Annotated[Path, typer.Option(help="Their translations.")],
    tokenize: Annotated[str, typer.Option(help="sacreBLEU's tokenizer.")] = "13a",
):
    """Translate, and write the results."""
    from keras_transformer import Translator, parallel_corpus
    from keras_transformer.data import read_pairs
    from keras_transformer.evaluate import evaluate
    from keras_transformer.translation import Shortlist

    sentences, references = map(list, zip(*read_pairs(valid_source, valid_target), strict=True))
    shortlist = Shortlist.learn(parallel_corpus(source, target, Translator.load(model).tokenizer))
    results = []
    for precision, policy in POLICIES.items():
        for beam in BEAMS:
            found = {
                name: Translator.load(model, policy, beam_size=beam, shortlist=each)(sentences)
                for name, each in (("without", None), ("with", shortlist))
            }
            same = sum(one == other for one, other in zip(*found.values(), strict=True))
            bleu = {name: evaluate(texts, references, tokenize).bleu for name, texts in found.items()}
            results.append(
                {"precision": precision, "beam": beam, "bleu": bleu, "same": same, "sentences": len(sentences)}
            )
    write_results(output, "shortlist_bleu", results, table(results))


if __name__ == "__main__":
    typer.run(main)
