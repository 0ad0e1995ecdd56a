"""Parse sentences with a trained parser, and score what it makes."""

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from keras_transformer_cli.complaints import STANDARD_INPUT, lines_of, placed
from keras_transformer_cli.models import SEARCH, is_export
from keras_transformer_cli.screen import result, say

WINDOW = 1000  # lines read before they are parsed


def load_parser(context):
    """The `Parser` of the folders and options of a command.

    Raises:
        ValueError: a folder is an export.
    """
    options = context.params
    folders = [options["model"], *(options["ensemble"] or [])]
    for folder in folders:
        if is_export(folder):
            raise ValueError(
                f"{folder} is an export. keras-transformer translate {folder} parses with it. This needs the folder "
                "that it was made from."
            )
    from keras_transformer.parsing import Parser

    search = {name: options[name] for name in (*SEARCH, "constrained") if name in options}
    return Parser.load(folders if len(folders) > 1 else folders[0], dtype=options["precision"], **search)


def read_sentences(texts, output, svg, overwrite):
    """The sentences that a command got: its arguments, a pipe, or what is typed.

    Returns:
        An iterator over lines; and the function for `placed` that names the place of a line.

    Raises:
        OSError: an output exists, or cannot be written.
    """
    from keras_transformer.files import read_lines
    from keras_transformer.inputs.paths import check_target

    if output is not None:
        check_target(output, "file", "output", overwrite)
    if svg is not None:
        check_target(svg, "folder", "svg", overwrite)
    if texts:
        return iter(texts), "texts[{}]".format
    if sys.stdin.isatty():
        print("Type sentences, with spaces between words. Ctrl-D ends.", file=sys.stderr)
    return read_lines("/dev/stdin", STANDARD_INPUT), lines_of(STANDARD_INPUT)


def parse_lines(parser, lines, place_of, output, svg, overwrite, draw, split_words, batch_size):
    """Parse lines, window after window, to a file or to the standard output. An empty line stays empty.

    `lines` and `place_of` are those of `read_sentences`.
    """
    from keras_transformer.files import written_beside
    from keras_transformer.parsing import draw_tree

    window = 1 if sys.stdin.isatty() and output is None else WINDOW
    split, number = words_of_text() if split_words else str.split, 0
    with ExitStack() as stack:
        stream, folder = sys.stdout, None
        if output is not None:
            beside = stack.enter_context(written_beside(output, overwrite, kind="file", argument="output"))
            stream = stack.enter_context(open(beside, "w", encoding="utf-8", newline="\n"))
        if svg is not None:
            folder = stack.enter_context(written_beside(svg, overwrite, argument="svg"))
            folder.mkdir()
        while block := list(islice(lines, window)):
            sentences = [" ".join(split(line)) for line in block]
            numbers = [number + place for place, text in enumerate(sentences) if text]
            with placed(place_of, numbers):
                found = iter(parser(list(filter(None, sentences)), batch_size=batch_size, progress=window > 1))
            trees = [next(found).tree if text else None for text in sentences]
            for tree in trees:
                stream.write(f"{shown(tree, draw, stream)}\n")
            for place, tree in enumerate(trees, start=number + 1):
                if folder is not None and tree is not None:
                    (folder / f"{place}.svg").write_text(draw_tree(tree, "svg"), encoding="utf-8")
            stream.flush()
            number += len(block)


def shown(tree, draw, stream):
    """A tree as text: its brackets on one line, or a drawing; nothing for no tree."""
    from keras_transformer.console import safe_console
    from keras_transformer.parsing import draw_tree

    if tree is None:
        return ""
    if not draw:
        return one_line(tree)
    ascii_only = (stream.encoding or "").lower().replace("-", "") not in ("utf8", "utf16")
    return draw_tree(tree, "ascii" if ascii_only else "text", safe_console().width if stream.isatty() else None) + "\n"


def one_line(tree):
    """A tree in brackets, on one line."""
    return tree.pformat(margin=sys.maxsize)


def words_of_text():
    """The function that splits running text into words as the Penn Treebank does."""
    from nltk.tokenize import TreebankWordTokenizer

    return TreebankWordTokenizer().tokenize


def score_parser(load, trees, output, overwrite, batch_size, as_json):
    """Parse the sentences of a file of trees, and print the scores."""
    from keras_transformer.files import written_beside
    from keras_transformer.inputs.paths import check_target, refuse_own_input
    from keras_transformer.parsing import read_trees, words_of

    if output is not None:
        check_target(output, "file", "output", overwrite)
        refuse_own_input(output, [trees])
    references = read_trees(trees)
    parser = load()
    sentences = [" ".join(words_of(tree)) for tree in references]
    started = time.perf_counter()
    with placed(lambda number: f"{trees}, tree {number + 1},"):
        found = parser(sentences, batch_size=batch_size, progress=True)
    seconds = time.perf_counter() - started
    if output is not None:
        with written_beside(output, overwrite, kind="file", argument="output") as beside:
            beside.write_text("".join(f"{one_line(each.tree)}\n" for each in found), encoding="utf-8")
    repaired = sum(each.is_repaired for each in found)
    rate = f"{len(found) / seconds:.1f} sentences a second"
    say(f"{repaired:,} of {len(found):,} outputs needed repair; {rate}, with the start of the search")
    print_scores([each.tree for each in found], references, as_json, {"repaired": repaired})


def score_trees(made, trees, as_json):
    """Print the scores of a file of trees."""
    from keras_transformer.parsing import read_trees

    hypotheses, references = read_trees(Path(made)), read_trees(trees)
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{made} has {len(hypotheses):,} trees and {trees} has {len(references):,}: they must be aligned."
        )
    print_scores(hypotheses, references, as_json)


def print_scores(hypotheses, references, as_json, more=None):
    """Print `evaluate_trees` as a table or as JSON."""
    from keras_transformer.parsing import evaluate_trees

    scores = evaluate_trees(hypotheses, references)
    if as_json:
        result(json.dumps(facts(scores) | (more or {}), indent=2))
    else:
        result(str(scores))


def facts(scores):
    """`TreeScores` for a file: the figures, and the counts that they are made of."""
    figures = ("f1", "precision", "recall", "complete_match", "average_crossing", "no_crossing", "tagging_accuracy")
    parts = {"all": scores.every, f"at most {scores.limit} words": scores.short}
    values = {
        name: {figure: getattr(part, figure) for figure in figures} | asdict(part) for name, part in parts.items()
    }
    return {
        name: {key: round(value, 2) if isinstance(value, float) else value for key, value in rows.items()}
        for name, rows in values.items()
    }
