"""Writes the README.md and the SHA256SUMS of an export, and checks the files of an export by its SHA256SUMS."""

import json
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from keras_transformer.export.checks.saved_model import list_files
from keras_transformer.files import sha256
from keras_transformer.training.card import provenance

README, SUMS = "README.md", "SHA256SUMS"
ABOUT = (
    "A translation model as a TensorFlow SavedModel. It takes strings and gives strings: tokenizers, search and "
    "weights are inside."
)
NEEDS_INTEGERS = (
    "in 8-bit integers. TensorFlow needs oneDNN, and the processor needs VNNI (Intel since 2019, AMD since 2022). "
    "On other machines this export does not load"
)
RESULTS = ("RESULT.md", "result.json")  # training writes these into its folder
# All names that the folder of an export may hold.
FILES = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra", README, SUMS, *RESULTS}


@dataclass(frozen=True)
class ExportFacts:
    """Facts for the README.md of an export that its graph does not tell.

    Args:
        sentences: a list of strings, example sentences. The export is checked by them, too.
        translations: their translations by `serving_default` in this process, on the CPU.
        scores: the scores of the translations. None if the check must accept no other translation of the same score.
        options: a dictionary of the search's options, with the names of `SearchOptions`.
        max_source_length: int, the most tokens of a source that the graph reads, END counted.
        precision: str, in which the weights are stored.
        integers: whether it multiplies in 8-bit integers.
        more: a dictionary of further facts, for example the number of parameters.
        training_folder: the folder whose `RESULT.md` and `result.json` describe the model's training, or None.
        about: a string, what it is.
    """

    sentences: list
    translations: list
    scores: list | None
    options: dict
    max_source_length: int
    precision: str
    integers: bool = False
    more: dict = field(default_factory=dict)
    training_folder: Path | None = None
    about: str = ABOUT


SIGNATURES = {
    "serving_default": "The best translation of each sentence.",
    "n_best": "The N hypotheses for each sentence, best first. N is `beam_size`.",
    "score": "The model's scores of given translations.",
    "ids": "The best translation, for callers that have the tokenizer, or the two of source and target, themselves.",
    "align": "The best translation, and how much each of its pieces attends to each piece of the source.",
}
MEANINGS = {
    "sentences": "text in UTF-8, one sentence in each string",
    "translations": "text in UTF-8",
    "scores": "log P of the translation divided by the length penalty, plus the coverage penalty",
    "truncated": "true if the input was too long and was cut",
    "log_probabilities": "log P of the translation, END included",
    "token_counts": "number of tokens of the translation, END included",
    "source_ids": "the ids of the sentence's pieces, then END = 3; ids after the first END are ignored",
    "ids": "the ids of the translation's pieces, then END = 3, then 0 as padding",
    "source_pieces": "the pieces of the source and END, then empty strings as padding",
    "target_pieces": "the pieces of the translation and END, then empty strings as padding",
    "alignment": "row t: how much piece t of the translation attends to each piece of the source; 0 at padding",
}
OPTIONS = {
    "beam_size": "the hypotheses that the search keeps for each sentence; 1 is greedy search",
    "length_penalty": "α of the length penalty",
    "length_normalization": 'score = log P / ((5 + length) / 6)^α for "gnmt", log P / length^α for "power"',
    "coverage_penalty": "β of the coverage penalty",
    "max_extra_length": "a translation has at most this many tokens more than its source",
    "max_length": "the most tokens of a translation; None means no rule",
    "min_length": "the fewest tokens of a translation",
    "min_extra_length": "a translation has at least this many tokens more than its source; None means no rule",
    "no_repeat_ngram": "no sequence of this many tokens appears twice; 0 means no rule",
    "suppress": "pieces that never appear",
    "replace_unknown": "whether each unknown piece is replaced by the source word that it attends to most",
    "constraint": "what says which token may come next; None means no rule",
    "shortlist": "the digest of the shortlist that the search chooses among; if it is not here, all pieces",
}
MEANINGS_IN_N_BEST = {
    "translations": "text in UTF-8, best first; empty if the search found fewer",
    "scores": "as in serving_default; -1e9 if the search found fewer",
}


def write_readme(contents, path, facts, max_batch_size=None):
    """Write `README.md` and `SHA256SUMS` into an export, and copy the result card of its training.

    Args:
        contents: the `saved_model.Contents` of the folder. Every other file must be in place.
        path: the export's final path, `<name>/<version>`.
        facts: `ExportFacts`.
        max_batch_size: int, the most sentences of a request to a server, or None if the export has no server's files.
    """
    folder, path = contents.path, Path(path).resolve()
    name = path.parent.name
    for result in RESULTS:
        if facts.training_folder is not None and (Path(facts.training_folder) / result).is_file():
            shutil.copyfile(Path(facts.training_folder) / result, folder / result)
    text = "\n\n".join(
        [
            f"# {name}, version {path.name}",
            f"{facts.about} TensorFlow with the ops of TensorFlow Text runs it, and so does a stock TensorFlow "
            "Serving.",
            "## Signatures\n" + "\n\n".join(_signature(*item) for item in contents.signatures.items()),
            "`?` is a dimension of any size. The first dimension is the batch.",
            "## Options and limits\n" + _limits(facts, max_batch_size),
            "## How to ask it\n" + _example_requests(name, facts),
            "## How it was made\n" + _lines({**provenance(), **facts.more}),
            "## SHA-256\nTo check the files: `sha256sum -c SHA256SUMS`\n\n```\n" + _sums(folder, README) + "```",
        ]
    )
    (folder / README).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    (folder / SUMS).write_text(_sums(folder), encoding="utf-8")


def broken_files(folder):
    """Compare the files of an export with its `SHA256SUMS`.

    Returns:
        The sorted names of the files that differ or are missing. None if there is no `SHA256SUMS`.

    Raises:
        ValueError: a line of `SHA256SUMS` is not a digest and a name.
    """
    folder = Path(folder)
    if not (folder / SUMS).is_file():
        return None
    broken = []
    for number, line in enumerate((folder / SUMS).read_text(encoding="utf-8").splitlines(), start=1):
        expected, separator, name = line.partition("  ")
        if not separator:
            raise ValueError(f"{folder / SUMS}, line {number}: expected a digest, two spaces and a name, got {line!r}.")
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            broken.append(name)
    return sorted(broken)


def _sums(folder, *excluded):
    """The lines that sha256sum writes for the files of a folder, without `SHA256SUMS` and those in `excluded`."""
    names = [file.relative_to(folder).as_posix() for file in list_files(folder)]
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in names if name not in (SUMS, *excluded))


def _signature(name, signature):
    """A heading, and a table of inputs and outputs."""
    meanings = {**MEANINGS, **(MEANINGS_IN_N_BEST if name == "n_best" else {})}
    rows = [
        f"| {side} | `{key}` | {tensor.dtype} | {str(tensor).partition(' ')[2]} | {meanings.get(key, '')} |"
        for side, tensors in (("input", signature.inputs), ("output", signature.outputs))
        for key, tensor in tensors.items()
    ]
    head = f"### {name}\n" + (f"{SIGNATURES[name]}\n\n" if name in SIGNATURES else "\n")
    return head + "\n".join(["| | name | dtype | shape | meaning |", "|---|---|---|---|---|", *rows])


def _limits(facts, max_batch_size):
    limits = {
        "source": f"the model reads the first {facts.max_source_length} tokens of a sentence, END counted; "
        "`truncated` is true if there were more",
        "weights": f"stored in {facts.precision}",
    }
    if facts.integers:
        limits["products"] = NEEDS_INTEGERS
    if max_batch_size is not None:
        limits["batch"] = (
            f"at most {max_batch_size} sentences (`max_batch_size` in `../batching.config`); a server refuses a "
            "request with more"
        )
    rows = [f"| `{name}` | {value} | {OPTIONS.get(name, '')} |" for name, value in facts.options.items()]
    return "\n".join([_lines(limits), "", "| option | value | meaning |", "|---|---|---|", *rows])


def _example_requests(name, facts):
    """How to ask a server over REST and gRPC, and the answer."""
    middle = len(facts.sentences) // 2
    sentence = facts.sentences[middle]
    body = shlex.quote(json.dumps({"inputs": {"sentences": [sentence]}}, ensure_ascii=False))
    return (
        "Over REST. To ask another signature than serving_default, add `signature_name` to the JSON:\n\n"
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
    """A Markdown list of names and values."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
