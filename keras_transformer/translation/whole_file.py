"""Translate a file of any length, window after window, and resume after a break."""

import hashlib
import json
import os
import pickle
import re
from itertools import islice
from pathlib import Path

import numpy as np

from keras_transformer.files import json_text, lock, read_lines, sha256, written_beside
from keras_transformer.inputs.kinds import FileLines, SentenceError
from keras_transformer.inputs.numbers import whole
from keras_transformer.inputs.paths import refuse_own_input
from keras_transformer.inputs.tokenizers import SIDES, is_pair, side_of
from keras_transformer.readers.pipes import is_pipe, reread
from keras_transformer.translation.batches import progress_bar
from keras_transformer.translation.breaks import explained

LINE_BREAK = re.compile(r"\r\n|[\r\n]")
SETTINGS = "constraint_settings"  # in a journal
UNKNOWN = "unknown"  # settings that cannot be told from others


@explained
def translate_file(
    translator,
    source_path,
    target_path,
    batch_size=64,
    window=2000,
    overwrite=False,
    progress=True,
    split_sentences=False,
    references_path=None,
):
    """Write the translation of each line of a file, in order, one a line.

    The source is read in windows. Sentences of similar length in a window share a batch, and no more than a window
    is in memory. Finished lines are in `<target_path>.part`. A journal beside it says what work they belong to. After
    a break, the same call resumes after the last complete line. At the end, the file gets its name and the journal
    is removed. A line break inside a translation becomes a space. Only one process at a time can write a target.

    A source that can be read only once, such as "/dev/stdin", is first copied to a temporary file.

    Args:
        translator: a `Translator`.
        source_path: UTF-8, one sentence a line, plain or `.gz`.
        target_path: the file to write, plain text.
        batch_size: sentences decoded at a time.
        window: lines read at a time.
        overwrite: replace `target_path` if it exists, at the end.
        progress: show a progress bar on standard error, if that is a terminal.
        split_sentences: translate each sentence of a line by itself. The translations of a line stay on one line.
        references_path: a file of references, line by line, or None. With it, each line gets the one of the
            translator's n-best translations that is closest to its reference, by sacreBLEU's BLEU of a sentence. A
            student learns more from these than from the best ones (Kim and Rush 2016, "Sequence-Level Knowledge
            Distillation", section 3.3).

    Raises:
        FileExistsError: `target_path` exists and `overwrite` is False.
        IsADirectoryError: `target_path` is a folder.
        ValueError: a target that is a file read here, or that keeps its unfinished work there, or that ends in `.gz`;
            unfinished work of another source, model or option, which the message names; a source that is not
            UTF-8, or that changes meanwhile; a window or batch size below 1; references of another number of lines,
            or together with `split_sentences`; and what a call of the translator raises. The message gives the line of
            a sentence that is too long.
        TypeError: a path that is none, such as a list of sentences; a number of another type.
        BlockingIOError: another process is writing the same target.
        OSError: a path cannot be read or written, or the disk is full. The message names the path.
        KeyboardInterrupt: the user's. A line of the log says how to go on.
    """
    source_path, target_path = Path(source_path), Path(target_path)
    for name, value in (("window", window), ("batch_size", batch_size)):
        whole(name, value)
    part, journal = _unfinished_paths(target_path, {"source_path": source_path, "references_path": references_path})
    if target_path.exists() and not overwrite:
        raise FileExistsError(f"{target_path} exists already. Choose another path, or pass overwrite=True.")
    options = {"batch_size": batch_size} | ({"split_sentences": True} if split_sentences else {})
    if references_path is not None and split_sentences:
        raise ValueError("references_path and split_sentences=True cannot go together: a reference is of a whole line.")
    with reread(source_path) as readable:
        version = _version(readable)
        total = sum(1 for _ in read_lines(readable, source_path))  # finds a line that is not UTF-8 before the work
        work = work_of(translator, source_path, readable, split_sentences)
        if references_path is not None:
            work["references_sha256"] = _checked_references(references_path, total, source_path)
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "a+b") as stream:
            if not lock(stream, part):
                raise BlockingIOError(f"another process is writing {part}. Wait for it, or choose another target_path.")
            done = _prepare(stream, part, journal, work)
            lines = islice(read_lines(readable, source_path), done, None)
            references = None if references_path is None else islice(read_lines(references_path), done, None)
            with progress_bar("translating", total, progress, done) as advance:
                while sentences := FileLines(islice(lines, window)):
                    right = None if references is None else list(islice(references, len(sentences)))
                    _append(stream, _translated(translator, sentences, right, source_path, done, options))
                    done += len(sentences)
                    advance(len(sentences))
            if _version(readable) != version:
                raise ValueError(f"{source_path} has changed meanwhile. {part} may be of both versions: remove it.")
            if target_path.exists() and not overwrite:
                raise FileExistsError(f"{target_path} exists by now. The translations are in {part}.")
            os.replace(part, target_path)
            journal.unlink(missing_ok=True)


def _translated(translator, sentences, references, source_path, done, options):
    """The translations of lines. An error about a line gives its number in the file."""
    try:
        if references is None:
            return translator(sentences, **options)
        from keras_transformer.evaluate.metrics import closest

        found = [[each.text for each in hypotheses] for hypotheses in translator.n_best(sentences, **options)]
        return [closest(*pair) for pair in zip(found, references, strict=True)]
    except SentenceError as error:
        raise ValueError(f"{source_path}, line {done + error.number + 1}, {error.rule}") from error


def _checked_references(path, total, source_path):
    """The SHA-256 of a file of references.

    Raises:
        ValueError: it has another number of lines than the source.
    """
    count = sum(1 for _ in read_lines(path))
    if count != total:
        raise ValueError(
            f"references_path={str(path)!r} has {count:,} lines and {source_path} has {total:,}: they must be aligned."
        )
    return sha256(path)


def _unfinished_paths(target_path, sources):
    """The files of unfinished work, and of its journal.

    Args:
        target_path: the `Path` of the target.
        sources: {argument: path or None}, the files that are read.

    Raises:
        ValueError: a target that ends in `.gz`, or that would overwrite a source.
        IsADirectoryError: the target is a folder.
    """
    if target_path.suffix == ".gz":
        raise ValueError(f"{target_path} would hold plain text. Choose a name without .gz.")
    refuse_own_input(target_path, sources.values(), "target_path")
    if target_path.is_dir():
        raise IsADirectoryError(f"{target_path} is a folder. Choose the name of a file.")
    paths = [target_path.with_name(target_path.name + end) for end in (".part", ".part.json")]
    for name, source in sources.items():
        if source is not None and Path(source).resolve() in [path.resolve() for path in paths]:
            raise ValueError(f"{name} {source} is where unfinished work for {target_path} is kept. Rename one.")
    return paths


def one_line(text):
    """A text with a space in the place of each line break."""
    return LINE_BREAK.sub(" ", text)


def _append(stream, texts):
    """Write a line for each text, and wait until it is on the disk."""
    stream.write("".join(f"{one_line(text)}\n" for text in texts).encode())
    stream.flush()
    os.fsync(stream.fileno())


def _version(path):
    """The size and the time of a file, which a change of the file usually changes."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _prepare(stream, part, journal, work):
    """Prepare the `stream` of `part` for appending, and return how many lines it holds.

    Raises:
        ValueError: it is part of other work.
    """
    if not stream.seek(0, os.SEEK_END):  # nothing is done yet
        with written_beside(journal, overwrite=True) as beside:  # the journal is on the disk before any line
            beside.write_text(json.dumps(work, indent=1) + "\n", encoding="utf-8")
        return 0
    try:
        recorded = json.loads(journal.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"{part} is unfinished work, but {journal} does not say what work it is. Remove {part}."
        ) from error
    if changes := changes_of(recorded, work):
        raise ValueError(f"{part} is unfinished work of another kind: {changes}. Finish that work, or remove {part}.")
    stream.seek(0)
    lines = complete = 0
    for line in stream:
        if line.endswith(b"\n"):
            lines, complete = lines + 1, complete + len(line)
    stream.truncate(complete)
    return lines


def changes_of(recorded, work):
    """What differs between two results of `work_of`, in words: "beam_size was 4 and is 2"; "" if nothing does.

    Settings of a constraint that are unknown may differ.
    """
    differing = [name for name in {**recorded, **work} if recorded.get(name) != work.get(name)]
    changes = [f"{name} was {recorded.get(name)!r} and is {work.get(name)!r}" for name in differing]
    if recorded.get(SETTINGS) == work.get(SETTINGS) == UNKNOWN:
        changes.append("the settings of the constraint may differ, as it cannot be pickled and has no attribute digest")
    return ", ".join(changes)


def work_of(translator, source_path, readable, split_sentences):
    """Everything that the translations depend on, as JSON has it. `readable` holds the text of `source_path`."""
    name = source_path.absolute() if is_pipe(source_path) else source_path.resolve()  # a pipe resolves to its number
    work = {"source": str(name), "source_size": readable.stat().st_size, "source_sha256": sha256(readable)}
    work |= {"models": [_fingerprint(model) for model in translator.models]}
    parts = {f"{side} tokenizer": side_of(translator.tokenizer, side) for side in SIDES}
    parts = parts if is_pair(translator.tokenizer) else {"tokenizer": translator.tokenizer}
    work |= {name: _fingerprint_of_pieces(tokenizer) for name, tokenizer in parts.items()}
    work |= {"split_sentences": True} if split_sentences else {}
    if translator.options.constraint is not None:
        work[SETTINGS] = _fingerprint_of_settings(translator.options.constraint)
    return json.loads(json_text(work | translator.options.as_plain_values()))


def _fingerprint_of_settings(constraint):
    """The `digest` of a constraint, or else a digest of what its attributes and those of its class hold."""
    if (digest := getattr(constraint, "digest", None)) is not None:
        return str(digest)
    held = [item for kind in type(constraint).__mro__ for item in vars(kind).items() if _is_setting(*item)]
    try:
        return hashlib.sha256(pickle.dumps([held, constraint])).hexdigest()
    except Exception:  # objects of any class may refuse to be pickled, by any error
        return UNKNOWN


def _is_setting(name, value):
    """Whether an attribute of a class is a value: no method, no property, and nothing of Python's own."""
    return not name.startswith("_") and not hasattr(value, "__get__")


def _fingerprint_of_pieces(tokenizer):
    """A digest of a tokenizer's kind, pieces and normal form."""
    facts = [tokenizer.model, *tokenizer.pieces(range(tokenizer.vocabulary_size))]
    facts += [] if tokenizer.normalization == "none" else [tokenizer.normalization]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _fingerprint(model):
    """A digest of a model's architecture and weights."""
    digest = hashlib.sha256(json_text(model.get_config(), sort_keys=True).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
