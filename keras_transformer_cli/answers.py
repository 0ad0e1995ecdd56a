"""Texts in, answers out: from a training folder or from an export."""

from dataclasses import dataclass

from keras_transformer_cli.models import is_export, load
from keras_transformer_cli.screen import say

EXPORTED_ROWS = 64  # the sentences of a call of an export
NO_HYPOTHESIS = -1e8  # an export gives -1e9 where it found no further text


@dataclass
class Answer:
    """One translation, and what was asked for beside it."""

    text: str
    score: float
    tokens: tuple = ()
    alignment: str = ""


def answerer(request):
    """A function from a list of texts to a list of `Answer`s for each, the best first; and its `Translator`.

    An export has no `Translator`: None.
    """
    if request.has_export:
        return exported_answers(request), None
    translator = load(request.model, request.precision, **request.search)

    def answer(texts):
        if request.split_sentences:
            translations = translator(texts, batch_size=request.batch_size, split_sentences=True)
            return [[Answer(text, 0.0)] for text in translations]
        if request.is_plain:
            return [[Answer(text, 0.0)] for text in translator(texts, batch_size=request.batch_size)]
        found = translator.n_best(texts, request.n_best or 1, batch_size=request.batch_size)
        answers = [[Answer(each.text, each.score, each.tokens) for each in hypotheses] for hypotheses in found]
        if request.alignment:
            add_alignments(translator, texts, answers, request.batch_size)
        return answers

    return answer, translator


def add_alignments(translator, texts, answers, batch_size):
    """Fill in the alignments of all answers."""
    pairs = [(text, answer) for text, group in zip(texts, answers, strict=True) for answer in group]
    translations = [answer.tokens or answer.text for _, answer in pairs]
    links = translator.align_words([text for text, _ in pairs], translations, batch_size)
    for (_, answer), found in zip(pairs, links, strict=True):
        answer.alignment = pharaoh(found)


def pharaoh(links):
    """Links as text: source word, "-", target word."""
    return " ".join(f"{source}-{target}" for source, target in links)


def check_export(request):
    """Refuse what an export does not give.

    Raises:
        ValueError: the message names the option.
    """
    if len(request.model) > 1:
        [export, *_] = [folder for folder in request.model if is_export(folder)]
        raise ValueError(f"{export} is an export. An ensemble needs the training folders that exports were made from.")
    for name in ("alignment", "attention", "split_sentences"):
        if getattr(request, name):
            export = request.model[0]
            raise ValueError(f"{name} needs the training folder, and {export} is an export. Leave the option out.")
    if fixed := [name for name in ("precision", *request.search) if name in request.given]:
        raise ValueError(f"{fixed[0]} is fixed in an export, and {request.model[0]} is one. Leave the option out.")


def exported_answers(request):
    """The answers of an export. Its search and its precision are those that it was written with.

    Raises:
        ValueError: something is asked for that an export does not give.
    """
    import tensorflow as tf

    from keras_transformer.text.given_inputs import in_utf8

    check_export(request)
    module = load_export(request.model[0])
    name = "n_best" if request.n_best else "serving_default"
    if name not in module.signatures:
        raise ValueError(f"{request.model[0]} has no signature {name!r}: it is no export of this package.")
    signature = module.signatures[name]
    if request.n_best:  # the shape is (B, W)
        beam_size = signature.structured_outputs["translations"].shape[1]
        request.check_n_best(beam_size, f", the beam that {request.model[0]} was exported with")

    def answer(texts):
        answers, cut, texts = [], 0, in_utf8(texts)
        for start in range(0, len(texts), EXPORTED_ROWS):
            outputs = signature(sentences=tf.constant(texts[start : start + EXPORTED_ROWS]))
            cut += int(outputs["truncated"].numpy().sum())
            rows = [outputs[key].numpy() for key in ("translations", "scores")]
            if not request.n_best:
                rows = [row[:, None] for row in rows]
            answers += [_answers(*row, request.n_best) for row in zip(*rows, strict=True)]
        if cut:
            say(
                f"Warning: {cut:,} of {len(texts):,} sentences are longer than {request.model[0]} reads, and only "
                "their beginnings are translated. Export with a larger --max-source-length, or split them."
            )
        return answers

    return answer


def load_export(folder):
    """The SavedModel of a folder.

    Raises:
        RuntimeError: TensorFlow cannot load it, for example because it computes in integers that are not exact here.
        OSError: a file of it cannot be read.
    """
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - the ops of the tokenizer

    from keras_transformer.backend.int8 import NEEDS_ONEDNN
    from keras_transformer.export.graph.weights import RULE

    try:
        return tf.saved_model.load(folder)
    except tf.errors.OpError as error:
        text = str(error)
        # TensorFlow escapes the quotes of the rule, and gives the name of the op that is not there.
        known = {RULE.partition(".")[0]: RULE, "integers_need_oneDNN": NEEDS_ONEDNN}
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = next((reason for mark, reason in known.items() if mark in text), lines[-1])
        raise RuntimeError(f"{folder} cannot be loaded: {reason}") from error


def _answers(texts, scores, n_best):
    """The `Answer`s of one row."""
    found = [
        Answer(text.decode(), float(score)) for text, score in zip(texts, scores, strict=True) if score > NO_HYPOTHESIS
    ]
    return found[: n_best or 1]
