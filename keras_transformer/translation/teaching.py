"""What a teacher gives a student to learn from: its translations of the student's corpus."""

import json
from pathlib import Path
from typing import Any

from keras_transformer.files import json_text, read_lines, sha256, written_beside
from keras_transformer.inputs.paths import AnyPath, check_source
from keras_transformer.readers.pipes import is_pipe
from keras_transformer.translation.whole_file import changes_of, translate_file, work_of

TRANSLATIONS, WORK = "teacher.target", "teacher.json"  # in the folder
KEEP = ("best", "closest")


def distill(
    teacher: Any,
    source: AnyPath,
    target: AnyPath,
    folder: AnyPath,
    *,
    keep: str = "best",
    mixture: bool = True,
    batch_size: int = 64,
) -> tuple[list[Path], list[Path]]:
    r"""Let a teacher translate a corpus, for a student to learn from (sequence-level knowledge distillation).

    The teacher translates the source into `teacher.target` in the folder (Kim and Rush 2016, "Sequence-Level Knowledge
    Distillation"). The same call resumes after a break, and translates nothing once it is done. Take validation pairs
    out of the corpus before, with `keras_transformer.data.split_corpus`.

    Example:
        ```python
        from pathlib import Path
        from keras_transformer import Tokenizer, Transformer, Translator, parallel_corpus
        from keras_transformer.translation import distill

        Path("train.en").write_text("a cat\nthe dog\n")
        Path("train.de").write_text("eine Katze\nder Hund\n")
        tokenizer = Tokenizer.train(["train.en", "train.de"], vocabulary_size=280)
        sizes = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 8, "num_heads": 2, "d_ff": 16}
        model = Transformer(vocabulary_size=280, **sizes)
        teacher = Translator(model, tokenizer, beam_size=4)
        sources, targets = distill(teacher, "train.en", "train.de", "student_data")
        corpus = parallel_corpus(sources, targets, tokenizer)
        ```

    Args:
        teacher: a `Translator`, with the beam that it is to translate with. It may be an ensemble.
        source: UTF-8, one sentence a line, plain or `.gz`.
        target: the given translations, line by line.
        folder: where the teacher's translations are written. It is made if it does not exist.
        keep: "best" keeps the likeliest hypothesis of the beam. "closest" keeps the one that is closest to the given
            translation, by BLEU of the sentence (section 3.3 there).
        mixture: also learn from the given translations.
        batch_size: sentences that the teacher decodes at a time.

    Returns:
        Two lists of paths for `parallel_corpus`, sources and targets: the given corpus, unless `mixture` is False, and
        the source with the teacher's translations.

    Raises:
        ValueError: another `keep`; a file that can be read only once; files of different lengths, or empty ones; the
            folder holds other work of a teacher, and the message names what differs, or work of an unknown one; what
            `translate_file` raises.
        OSError: a file cannot be read or written.
    """
    if keep not in KEEP:
        raise ValueError(f"keep must be 'best' or 'closest', got {keep!r}.")
    source, target = (_checked(path, argument) for argument, path in (("source", source), ("target", target)))
    folder = Path(folder)
    counts = [sum(1 for _ in read_lines(path)) for path in (source, target)]
    if counts[0] != counts[1] or not counts[0]:
        raise ValueError(
            f"target={str(target)!r} has {counts[1]:,} lines and source={str(source)!r} has {counts[0]:,}: they must "
            "be aligned, and not empty."
        )
    work = work_of(teacher, source, source, split_sentences=False) | {"keep": keep, "target_sha256": sha256(target)}
    folder.mkdir(parents=True, exist_ok=True)
    check_same_work(folder, work)
    translations = folder / TRANSLATIONS
    if not translations.exists():
        references = target if keep == "closest" else None
        translate_file(teacher, source, translations, batch_size, references_path=references)
    given = [(source, target)] if mixture else []
    sources, targets = zip(*given, (source, translations), strict=True)
    return list(sources), list(targets)


def _checked(path, argument):
    """The path of a file that can be read twice.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a pipe.
    """
    path = check_source(path, argument=argument)
    if is_pipe(path):
        raise ValueError(f"{argument}={str(path)!r} can be read only once, and it is read again later. Save it first.")
    return path


def check_same_work(folder, work):
    """Note what the teacher is asked for, or refuse to take translations that were asked for otherwise.

    Raises:
        ValueError: the folder has other work. The message names what differs.
    """
    path = folder / WORK
    if path.exists():
        if changes := changes_of(json.loads(path.read_text(encoding="utf-8")), work):
            raise ValueError(f"{folder} holds other work of a teacher: {changes}. Choose another folder.")
        return
    translations = folder / TRANSLATIONS
    if translations.exists():
        raise ValueError(
            f"{translations} exists, but no {WORK} says whose work it is. Remove it, or choose another folder."
        )
    with written_beside(path, kind="file") as beside:
        beside.write_text(json_text(work), encoding="utf-8")
