"""Train a parser of English on any trees in brackets, score it, export it, and parse sentences (section 6.3).

    python examples/parse_english.py --train train.mrg --dev dev.mrg --output runs/parser

For the paper's experiment, `--train` is sections 2 to 21 of the Wall Street Journal part of the Penn Treebank in one
file, `--dev` section 22, and `--test` section 23. A run that is interrupted goes on with the same command. Options
after `--` are those of `keras-transformer parse train`:

    python examples/parse_english.py --train wsj_02-21.mrg --dev wsj_22.mrg --test wsj_23.mrg --output runs/wsj \\
        -- --preset parsing --vocabulary-size 16000
"""

import json
import logging
import time
from pathlib import Path
from typing import Annotated

from keras_transformer_cli.quiet import end_quietly, quiet_startup

if __name__ == "__main__":
    end_quietly()
    quiet_startup()  # before TensorFlow is imported

import typer

from keras_transformer.console import safe_console, show
from keras_transformer.files import written_beside
from keras_transformer.inputs.paths import check_source
from keras_transformer.parsing import Parser, draw_tree, evaluate_trees, read_trees, words_of
from keras_transformer.training import write_card
from keras_transformer_cli.app import app
from keras_transformer_cli.parsing import facts, one_line

SENTENCES = [
    "The gene is expressed in the brain of adult mice .",
    "We do not know which of the two proteins binds the receptor .",
]


def train(trees, dev, output, options):
    """Train as `keras-transformer parse train` does. A run that was interrupted goes on.

    Raises:
        SystemExit: the training was interrupted, or an option is wrong.
    """
    command = ["parse", "train", str(trees), str(dev), "--output", str(output), *options]
    try:
        app(command, prog_name="keras-transformer")
    except SystemExit as end:  # also of a success
        if end.code:
            raise


def measure(parser, references):
    """Parse the sentences of trees.

    Returns:
        The trees, and the facts of the result card: the scores, the share that needed repair, and the speed.
    """
    sentences = [" ".join(words_of(tree)) for tree in references]
    parser(sentences[:1])  # the first call makes the graph
    started = time.perf_counter()
    parsed = parser(sentences, progress=True)
    seconds = time.perf_counter() - started
    trees = [each.tree for each in parsed]
    scores = evaluate_trees(trees, references)
    repaired = sum(each.is_repaired for each in parsed)
    measured = {"outputs that needed repair": repaired, "sentences a second": round(len(parsed) / seconds, 1)}
    return trees, facts(scores) | measured


def score(folder, sets, beams):
    """Score the parser of a folder, with and without the constraint. The trees of the widest beam are written.

    Args:
        folder: the folder of the run.
        sets: {name: file of trees}.
        beams: the sizes of the beam.

    Returns:
        {name: {search: facts}}.
    """
    references = {name: read_trees(path) for name, path in sets.items()}
    found = {name: {} for name in sets}
    for beam_size in beams:
        for constrained in (True, False):
            parser = Parser.load(folder, dtype="float32", beam_size=beam_size, constrained=constrained)
            for name, right in references.items():
                trees, measured = measure(parser, right)
                found[name][f"beam {beam_size}, {'constrained' if constrained else 'free'}"] = measured
                if constrained and beam_size == max(beams):
                    with written_beside(folder / f"{name}.parsed.mrg", overwrite=True, kind="file") as beside:
                        beside.write_text("".join(f"{one_line(tree)}\n" for tree in trees), encoding="utf-8")
    return found


def show_scores(console, name, found):
    """Print a line for each search: F1 of sentences of at most 40 words and of all, and more."""
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = ("search", "F1 ≤ 40", "F1 all", "complete", "tags", "repaired", "a second")
    for column in columns:
        table.add_column(column, justify="left" if column == "search" else "right")
    for search, row in found.items():
        every, short = row["all"], row["at most 40 words"]
        numbers = (short["f1"], every["f1"], every["complete_match"], every["tagging_accuracy"])
        numbers += (row["outputs that needed repair"], row["sentences a second"])
        table.add_row(search, *("" if number is None else str(number) for number in numbers))
    console.print(table)


def main(
    train_file: Annotated[Path, typer.Option("--train", help="Trees to learn from.")],
    dev: Annotated[Path, typer.Option(help="Trees to choose by.")],
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    test: Annotated[Path | None, typer.Option(help="Trees for a last score.")] = None,
    beam: Annotated[list[int] | None, typer.Option(help="Beam to score with. May be given several times.")] = None,
    sentence: Annotated[list[str] | None, typer.Option(help="Sentence to draw. May be given several times.")] = None,
    options: Annotated[list[str] | None, typer.Argument(help="Options of keras-transformer parse train.")] = None,
):
    """Train, score, export, and draw some trees."""
    console = safe_console()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of retracing, which each search needs once
    for argument, path in (("train", train_file), ("dev", dev), ("test", test)):
        if path is not None:
            check_source(path, argument=argument)
    train(train_file, dev, output, options or [])
    sets = {"dev": dev} | ({"test": test} if test else {})
    beams = beam or [1, 21]
    scores = score(output, sets, beams)
    for name, found in scores.items():
        show_scores(console, name, found)
    training = json.loads((output / "result.json").read_text(encoding="utf-8"))
    kept = {name: training[name] for name in ("model", "training", "kept") if name in training}
    write_card(output / "scored", "Parsing", {"scores": scores, "trained as": kept})
    parser = Parser.load(output, dtype="float32", beam_size=max(beams))
    if not (output / "saved_model" / "1").exists():
        parser.export(output / "saved_model" / "1")
    for number, parsed in enumerate(parser(sentence or SENTENCES), start=1):
        show(console, draw_tree(parsed.tree, width=console.width))
        with written_beside(output / f"tree_{number}.svg", overwrite=True, kind="file") as beside:
            beside.write_text(draw_tree(parsed.tree, "svg"), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
