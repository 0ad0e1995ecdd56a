"""The README.md beside an exported model: what it is, how to ask it, and the digest of each of its files."""

import json
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from keras_transformer.export.checks.saved_model import files_of
from keras_transformer.files import sha256
from keras_transformer.training.card import provenance

README, SUMS = "README.md", "SHA256SUMS"
RESULTS = ("RESULT.md", "result.json")  # what training leaves in its folder
# What an export may hold.
FILES = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra", README, SUMS, *RESULTS}


@dataclass(frozen=True)
class ExportFacts:
    """What an export's files say beyond what its graph does.

    Args:
        sentences: a list of strings, examples to ask and to check the export with.
        translations: their translations by `serving_default` in this process, on the CPU.
        scores: their scores; None where the two processes must agree in every near-tie as well.
        options: a dictionary of the search's options, as `SearchOptions` names them.
        max_source_length: int, tokens of a source with END that are read.
        precision: str, in which the weights are stored.
        more: a dictionary of further lines, such as the number of parameters.
        training_folder: a folder whose `RESULT.md` and `result.json` belong to the model, or None.
    """

    sentences: list
    translations: list
    scores: list | None
    options: dict
    max_source_length: int
    precision: str
    more: dict = field(default_factory=dict)
    training_folder: Path | None = None


SIGNATURES = {
    "serving_default": "the best translation of each sentence",
    "n_best": "the N hypotheses of each sentence's search, best first",
    "score": "what the model makes of translations that are given",
    "ids": "the best translation, for callers with a tokenizer of their own",
    "align": "the best translation, and which source piece each of its pieces attends to",
}
MEANINGS = {
    "sentences": "text, UTF-8, one sentence each",
    "translations": "text, UTF-8",
    "scores": "log P / length penalty, with the search's other penalties",
    "truncated": "whether the source was longer than is read, and was cut",
    "log_probabilities": "log P of the translation, END included",
    "token_counts": "tokens of the translation, END included",
    "source_ids": "pieces, then END = 3; what follows the first END is not read",
    "ids": "pieces, then END = 3, then 0",
    "source_pieces": "the source's pieces and END, then empty",
    "target_pieces": "the translation's pieces and END, then empty",
    "alignment": "row t: how much target piece t attends to each source piece; 0 at padding",
}
OPTIONS = {
    "beam_size": "hypotheses kept for each sentence; 1 is greedy search",
    "length_penalty": "α of the length penalty",
    "length_normalization": 'score = log P / ((5 + length) / 6)^α for "gnmt", log P / length^α for "power"',
    "coverage_penalty": "β of the coverage penalty",
    "max_extra_length": "the most tokens that a translation has more than its source",
    "max_length": "the most tokens of a translation",
    "min_length": "the fewest tokens of a translation",
    "min_extra_length": "the fewest tokens that a translation has more than its source",
    "no_repeat_ngram": "no sequence of so many tokens comes twice; 0 is no rule",
    "suppress": "pieces that never appear",
    "replace_unknown": "the attended source word in place of an unknown piece",
}
IN_N_BEST = {
    "translations": "text, UTF-8, best first; empty where the search reached fewer",
    "scores": "as in serving_default; -1e9 where the search reached fewer",
}


def write_card(folder, contents, path, facts, max_batch_size=None):
    """Write `README.md` and `SHA256SUMS` into an export, and copy the result card of its training.

    Args:
        folder: the SavedModel's folder, in which every other file is in place.
        contents: its `saved_model.Contents`.
        path: where the folder will stand, `<name>/<version>`.
        facts: `ExportFacts`.
        max_batch_size: int, sentences that a server takes at a time, or None where it has no files.
    """
    folder, path = Path(folder), Path(path).resolve()
    name = path.parent.name
    for result in RESULTS:
        if facts.training_folder is not None and (Path(facts.training_folder) / result).is_file():
            shutil.copyfile(Path(facts.training_folder) / result, folder / result)
    text = "\n\n".join(
        [
            f"# {name}, version {path.name}",
            "A translation model as a TensorFlow SavedModel: strings in, strings out. Tokenizer, search and weights "
            "are inside; TensorFlow and the ops of TensorFlow Text, or a stock TensorFlow Serving, run it.",
            "## Signatures\n" + "\n\n".join(_signature(*item) for item in contents.signatures.items()),
            "`?` is open; the first dimension is the batch.",
            "## Options and limits\n" + _limits(facts, max_batch_size),
            "## Ask it\n" + _ask(name, facts),
            "## Made with\n" + _lines({**provenance(), **facts.more}),
            "## SHA-256\nCheck them with `sha256sum -c SHA256SUMS`.\n\n```\n" + _sums(folder, README) + "```",
        ]
    )
    (folder / README).write_text(text + "\n", encoding="utf-8")
    (folder / SUMS).write_text(_sums(folder), encoding="utf-8")


def broken_files(folder):
    """The files of an export that are not as its `SHA256SUMS` says, sorted; None where there is no such file.

    Raises:
        ValueError: a line that is no digest and name.
    """
    folder = Path(folder)
    if not (folder / SUMS).is_file():
        return None
    wrong = []
    for number, line in enumerate((folder / SUMS).read_text(encoding="utf-8").splitlines(), start=1):
        expected, separator, name = line.partition("  ")
        if not separator:
            raise ValueError(f"{folder / SUMS}, line {number}: expected a digest, two spaces and a name, got {line!r}.")
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            wrong.append(name)
    return sorted(wrong)


def _sums(folder, *but):
    """Digests and names as sha256sum writes them, of every file but the list itself and those in `but`."""
    names = [file.relative_to(folder).as_posix() for file in files_of(folder)]
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in names if name not in (SUMS, *but))


def _signature(name, signature):
    """A heading and a table of inputs and outputs."""
    meanings = {**MEANINGS, **(IN_N_BEST if name == "n_best" else {})}
    rows = [
        f"| {kind} | `{key}` | {tensor.dtype} | {str(tensor).partition(' ')[2]} | {meanings.get(key, '')} |"
        for kind, tensors in (("input", signature.inputs), ("output", signature.outputs))
        for key, tensor in tensors.items()
    ]
    head = f"### {name}\n" + (f"{SIGNATURES[name]}\n\n" if name in SIGNATURES else "\n")
    return head + "\n".join(["| | name | dtype | shape | meaning |", "|---|---|---|---|---|", *rows])


def _limits(facts, max_batch_size):
    limits = {
        "source": f"the first {facts.max_source_length} tokens of a sentence, END counted, are read; `truncated` says "
        "where there were more",
        "weights": f"stored as {facts.precision}",
    }
    if max_batch_size is not None:
        limits["batch"] = (
            f"at most {max_batch_size} sentences (`max_batch_size` in `../batching.config`); a request with "
            "more is refused"
        )
    rows = [f"| `{name}` | {value} | {OPTIONS.get(name, '')} |" for name, value in facts.options.items()]
    return "\n".join([_lines(limits), "", "| option | value | meaning |", "|---|---|---|", *rows])


def _ask(name, facts):
    middle = len(facts.sentences) // 2
    sentence = facts.sentences[middle]
    body = shlex.quote(json.dumps({"inputs": {"sentences": [sentence]}}, ensure_ascii=False))
    return (
        "Over REST, with `signature_name` for another signature than serving_default:\n\n"
        f"```\ncurl http://localhost:8501/v1/models/{name}:predict -d {body}\n```\n\n"
        "Over gRPC, with tensorflow-serving-api:\n\n"
        "```python\n"
        "import grpc\nimport tensorflow as tf\n"
        "from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc\n\n"
        'stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel("localhost:8500"))\n'
        "request = predict_pb2.PredictRequest()\n"
        f'request.model_spec.name, request.model_spec.signature_name = "{name}", "serving_default"\n'
        f'request.inputs["sentences"].CopyFrom(tf.make_tensor_proto([{sentence!r}]))\n'
        'print(stub.Predict(request, timeout=30).outputs["translations"].string_val[0].decode())\n'
        "```\n\n"
        f"The answer is {json.dumps(facts.translations[middle], ensure_ascii=False)}."
    )


def _lines(facts):
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
