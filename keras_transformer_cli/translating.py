"""Translate the lines of a file or a pipe, or what is typed."""

import contextlib
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from keras_transformer_cli.answers import answerer
from keras_transformer_cli.complaints import STANDARD_INPUT, in_one_line, lines_of, placed
from keras_transformer_cli.lines import KINDS
from keras_transformer_cli.models import is_export, load
from keras_transformer_cli.screen import say

MOST_PAIRS_OF_A_PAGE = 20


@dataclass
class Request:
    """What is asked for; by default, plain translations of plain lines.

    Attributes:
        model: a list of folders: one, or an ensemble.
        precision, batch_size, split_sentences: how to translate.
        search: {name: value}, options of `Translator`.
        scores, n_best, alignment: what to give beside the text.
        attention: the path of a page, or None.
        kind, field: the form of the lines, and the field to translate.
        given: the names of the options that the user gave.
    """

    model: list
    precision: str
    search: dict
    batch_size: int
    given: list
    split_sentences: bool = False
    scores: bool = False
    n_best: int | None = None
    alignment: bool = False
    attention: Path | None = None
    kind: str = "plain"
    field: str | None = None

    @property
    def is_plain(self):
        """Whether only plain lines are asked for."""
        return self.kind == "plain" and not (self.scores or self.n_best or self.alignment or self.attention)

    @property
    def has_export(self):
        """Whether a model is an export."""
        return any(map(is_export, self.model))

    def check(self):
        """Refuse wishes that contradict each other, before the model is loaded. An export has a beam of its own.

        Raises:
            ValueError: the message names the options.
        """
        if not self.has_export:
            self.check_n_best(self.search["beam_size"])
        if self.split_sentences and not self.is_plain:
            raise ValueError(
                "split_sentences joins translations of sentences. They have no common score, n-best list, alignment or "
                "attention. Leave one of the options out."
            )
        self.lines()

    def check_n_best(self, beam_size, where=""):
        """Raise ValueError if more translations are asked for than the beam keeps, that of the export `where`."""
        if self.n_best and self.n_best > beam_size:
            raise ValueError(f"n_best={self.n_best} must be at most beam_size={beam_size}{where}.")

    def lines(self):
        """A new reader of lines of the kind that is asked for."""
        return KINDS[self.kind](self.field)


def translate_to_file(request, source, target, window, overwrite):
    """Translate plain lines into a file. The same call goes on after a break."""
    from keras_transformer.inputs.paths import check_source, check_target, refuse_own_input

    refuse_own_input(target, [check_source(source, argument="source")])
    check_target(target, "file", "output", overwrite)
    translator = load(request.model, request.precision, **request.search)
    options = {"overwrite": overwrite, "progress": True, "split_sentences": request.split_sentences}
    translator.translate_file(source, target, request.batch_size, window, **options)


def translate_lines(request, source, output, window, overwrite):
    """Translate lines of any kind, window after window, to a file or to the standard output."""
    from keras_transformer.files import written_beside
    from keras_transformer.inputs.paths import check_source, check_target, refuse_own_input

    path = check_source("/dev/stdin" if source in (None, "-") else source, argument="source")
    refuse_own_input(output, [path])
    refuse_own_input(request.attention, [path], "attention")
    if request.attention and check_target(request.attention, "file", "attention", overwrite).suffix != ".html":
        raise ValueError(f"attention={str(request.attention)!r} must end in .html.")
    with contextlib.ExitStack() as stack:
        if output is None:
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
            stream = sys.stdout
        else:
            beside = stack.enter_context(written_beside(output, overwrite, kind="file", argument="output"))
            stream = stack.enter_context(open(beside, "w", encoding="utf-8", newline="\n"))
        answer, translator = answerer(request)
        page = []
        write_translations(request, answer, path, stream, window, page)
    if request.attention:
        write_page(translator, page, request.attention)


def write_translations(request, answer, path, stream, window, page):
    """Write what is asked for each line of `path`. The first pairs of texts are added to `page`."""
    from keras_transformer.files import read_lines
    from keras_transformer.inputs.kinds import FileLines, are_paths

    kind, number = request.lines(), 0
    name = STANDARD_INPUT if str(path) == "/dev/stdin" else path
    lines = read_lines(path, name)
    while block := list(islice(lines, window)):
        try:
            texts = [kind.text(line, number + place) for place, line in enumerate(block)]
        except ValueError as error:
            raise ValueError(f"{name}, {error}") from error
        numbers = [number + place for place, text in enumerate(texts) if text is not None]
        given = FileLines(text for text in texts if text is not None)
        if not number and are_paths(given):
            say(
                f"Warning: each line of {name} is the name of a file, for example {given[0]!r}. The names are "
                "translated, not the files. To translate a file, give it after the model."
            )
        with placed(lines_of(name), numbers):
            answers = iter(answer(given))
        for place, (line, text) in enumerate(zip(block, texts, strict=True)):
            found = None if text is None else next(answers)
            stream.writelines(f"{each}\n" for each in kind.write(line, number + place, found, request))
            if found and len(page) < MOST_PAIRS_OF_A_PAGE:
                page.append((text, found[0]))
        stream.flush()
        number += len(block)


def write_page(translator, page, path):
    """Write the page of attention."""
    from keras_transformer import plots

    pairs = [translator.attention(text, answer.tokens or answer.text) for text, answer in page if text.strip()]
    plots.attention_html(pairs, path)
    say(f"Attention of {len(pairs)} lines: {path}")


def translate_typed(request):
    """Translate each line that is typed, until Ctrl-D. A line that cannot be translated ends nothing."""
    from keras_transformer.inputs.kinds import FileLines

    (answer, _), kind = answerer(request), request.lines()
    print("Type a sentence, and Enter. Ctrl-D ends.", file=sys.stderr)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - arrow keys and history
    number = 0
    while True:
        try:
            line = input("> " if sys.stdout.isatty() else "")
        except EOFError:
            print(file=sys.stderr)
            return
        if not line.strip():
            continue
        try:
            with placed(lambda number: "the line"):
                [found] = answer(FileLines([line]))
        except ValueError as error:
            say(f"Error: {in_one_line(error)}")
            continue
        for each in kind.write(line, number, found, request):
            print(each, flush=True)
        number += 1
