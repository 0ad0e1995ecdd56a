"""Finishing an export: the checks come first, then its files; and a server never sees half of it."""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import threading
import time

import hand_made
import pytest
import tensorflow as tf
import tiny

from keras_transformer import Translator
from keras_transformer.export import finish as module
from keras_transformer.export.checks.doctor import doctor
from keras_transformer.export.checks.saved_model import contents_of, is_version, read_saved_model
from keras_transformer.export.finish import finish
from keras_transformer.export.graph.module import ServingModule
from keras_transformer.export.graph.saving import save
from keras_transformer.export.readme import OPTIONS, ExportFacts, broken_files, write_readme
from keras_transformer.export.server.serving_files import Batching, ServingFiles
from keras_transformer.files import sha256, written_beside
from keras_transformer.translation.options import SearchOptions


def facts(sentences, translations):
    options = {"beam_size": 2, "length_penalty": 0.6}
    return ExportFacts(sentences, translations, None, options, max_source_length=37, precision="float32")


ECHO = facts(["ein haus"], ["EIN HAUS"])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The finished export of a tiny translator: its path, its facts, and the lists that `finish` gave."""
    folder = tmp_path_factory.mktemp("finished")
    tokenizer = tiny.make_tokenizer(folder / "corpus", "bpe")
    model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
    translator = Translator(model, tokenizer, beam_size=2, max_extra_length=4)
    (folder / "run").mkdir()
    (folder / "run" / "RESULT.md").write_text("# BLEU 41.0\n")
    path = folder / "en_de" / "1"
    with written_beside(path) as beside:
        proto = save(ServingModule(translator, "float32", 37), beside)
        translator.folder = folder / "run"
        facts = module.facts_of(translator, beside, 37, "float32")
        stored = module.facts_of(translator, beside, 37, "int8")
        serving_files = ServingFiles(path, Batching(max_batch_size=5))
        new, existing = finish(contents_of(beside, proto), path, facts, serving_files)
    assert facts.translations == stored.translations == translator(facts.sentences)
    assert facts.scores == pytest.approx(stored.scores, rel=1e-5)
    assert facts.more == {"parameters": f"{model.count_params():,}"}
    return path, facts, new, existing


def test_every_warm_up_record_is_answered(done):
    path, facts, *_ = done
    answered = list(hand_made.replay(path))
    assert len(answered) == 10
    for request, outputs in answered:
        size = len(outputs["truncated"])
        assert size in (1, 5) and {len(array) for array in outputs.values()} == {size}
        if request.model_spec.signature_name == "serving_default":
            assert [text.decode() for text in outputs["translations"][:3]] == facts.translations[:size]


def test_everything_is_in_place(done):
    path, facts, new, existing = done
    assert all(facts.sentences) and len({len(sentence) for sentence in facts.sentences}) == 3
    names = ["batching.config", "docker-compose.yml", "models.config", "monitoring.config"]
    assert sorted(file.name for file in new) == names and existing == []
    assert sorted(os.listdir(path.parent)) == ["1", *names]
    assert (path / "RESULT.md").read_text() == "# BLEU 41.0\n"
    report = doctor(path)
    assert report.healthy and report.broken == []
    assert report.contents.num_warmup_records == 10
    assert "SentencepieceTokenizeOp" in str(report)


def test_sha256sum_agrees(done):
    path, *_ = done
    result = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    names = {line.partition(":")[0] for line in result.stdout.splitlines()}
    assert names == set(read_saved_model(path).files) - {"SHA256SUMS"}


def test_the_readme_describes_the_export_and_how_to_ask_it(done):
    path, facts, *_ = done
    text = (path / "README.md").read_text()
    assert text.startswith("# en_de, version 1\n")
    assert "| output | `translations` | string | [?] | text in UTF-8 |" in text
    assert (
        "| `beam_size` | 2 | the hypotheses that the search keeps" in text
        and "the first 37 tokens" in text
        and "at most 5 sentences" in text
    )
    assert f"- parameters: {facts.more['parameters']}\n" in text and f"tensorflow {tf.__version__}" in text
    assert f"{sha256(path / 'saved_model.pb')}  saved_model.pb" in text
    [command] = re.findall(r"^curl .*$", text, re.MULTILINE)
    asked = subprocess.run(["bash", "-c", command.replace("curl", "printf '%s\n'")], capture_output=True, text=True)
    url, flag, body = asked.stdout.splitlines()
    assert (url, flag) == ("http://localhost:8501/v1/models/en_de:predict", "-d")
    assert json.loads(body) == {"inputs": {"sentences": [facts.sentences[1]]}}
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(code, "README.md", "exec")


def test_every_option_of_the_search_has_a_meaning():
    assert set(OPTIONS) == {option.name for option in dataclasses.fields(SearchOptions)}


def test_every_signature_and_tensor_of_an_export_has_a_meaning(tmp_path):
    folder = hand_made.save(tmp_path / "1", score=hand_made.score, ids=hand_made.ids, n_best=hand_made.n_best)
    write_readme(read_saved_model(folder), folder, ECHO)
    text = (folder / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| input", "| output"))]
    assert len(rows) == 12
    assert [row for row in rows if row.endswith("|  |")] == []
    assert "| output | `translations` | string | [?, 2] | text in UTF-8, best first; empty" in text
    assert "The N hypotheses for each sentence, best first." in text
    write_readme(read_saved_model(folder), folder, ECHO)  # again: the digest of the first README must not be in it
    assert not re.search(r"[0-9a-f]{64}  README\.md", (folder / "README.md").read_text())
    assert broken_files(folder) == []


def replace_verify(monkeypatch, error=None):
    """Replace the slow clean process by a function that raises `error`, if given. Return the list of its calls."""
    calls = []

    def verify(*arguments):
        calls.append(arguments)
        if error is not None:
            raise error

    monkeypatch.setattr(module, "verify", verify)
    return calls


def calls_python(sentences):
    return {"translations": tf.numpy_function(lambda strings: strings, [sentences], tf.string)}


@pytest.mark.parametrize("failure", ["op", "verify", "path", "models.config"])
def test_a_failure_leaves_nothing_and_comes_before_the_slow_steps(tmp_path, monkeypatch, failure):
    base = tmp_path / "en_de"
    (base / "1").mkdir(parents=True)
    path, function, before = base / "2", hand_made.echo, {"1"}
    calls = replace_verify(monkeypatch, RuntimeError("another translation") if failure == "verify" else None)
    if failure == "op":
        function = calls_python
    if failure == "path":
        path = base / "best"
    if failure == "models.config":
        (base / "models.config").write_text('model_config_list { config { name: "de_en" } }')
        before.add("models.config")
    message = {"op": "PyFunc", "verify": "another", "path": "whole number", "models.config": "not 'en_de'"}[failure]
    with pytest.raises((ValueError, RuntimeError), match=message), written_beside(path) as beside:
        hand_made.save(beside, function)
        finish(read_saved_model(beside), path, ECHO, ServingFiles(path, Batching()))
    assert len(calls) == (failure == "verify")
    assert set(os.listdir(base)) == before


def test_without_a_server_nothing_is_written_outside_the_folder(tmp_path, monkeypatch):
    replace_verify(monkeypatch)
    path = tmp_path / "anywhere" / "best"
    with written_beside(path) as beside:
        hand_made.save(beside)
        assert finish(read_saved_model(beside), path, ECHO) == ([], [])
    assert os.listdir(path.parent) == ["best"]
    assert broken_files(path) == []
    assert read_saved_model(path).num_warmup_records is None


def test_a_smaller_batch_in_an_existing_file_limits_the_warm_up_and_the_readme(tmp_path, monkeypatch):
    replace_verify(monkeypatch)
    path = tmp_path / "en_de" / "1"
    path.parent.mkdir()
    (path.parent / "batching.config").write_text("max_batch_size { value: 3 }")
    with written_beside(path) as beside:
        hand_made.save(beside)
        serving_files = ServingFiles(path, Batching(max_batch_size=32))
        _, existing = finish(read_saved_model(beside), path, ECHO, serving_files)
    assert [file.name for file in existing] == ["batching.config"]
    assert [len(outputs["scores"]) for _, outputs in hand_made.replay(path)] == [1, 3]
    assert "at most 3 sentences" in (path / "README.md").read_text()


@contextlib.contextmanager
def watching(base):
    """Look at `base` again and again while the block runs. Give a list of looks: {version: its broken files}."""
    looks, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            names = [name for name in os.listdir(base) if is_version(name)]
            looks.append({name: broken_files(base / name) for name in names})

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        stop.set()
        thread.join()


def test_an_unfinished_version_is_never_visible(tmp_path, monkeypatch):
    replace_verify(monkeypatch)
    base = tmp_path / "en_de"
    source = hand_made.save(tmp_path / "source")

    def slowly(beside):
        """Write every file in two halves, and wait for a look at each half."""
        for file in sorted(source.rglob("*")):
            target = beside / file.relative_to(source)
            if file.is_dir():
                target.mkdir(parents=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            hidden.update(child.name for child in base.iterdir() if child.is_dir() and not is_version(child.name))
            data = file.read_bytes()
            with open(target, "wb") as stream:
                for half in (data[: len(data) // 2], data[len(data) // 2 :]):
                    stream.write(half)
                    stream.flush()
                    seen = len(looks)
                    while len(looks) < seen + 2:
                        time.sleep(0.001)

    def write(version):
        with written_beside(base / version) as beside:
            slowly(beside)
            finish(read_saved_model(beside), base / version, ECHO, ServingFiles(base / version, Batching()))

    hidden = set()
    base.mkdir()
    with watching(base) as looks:
        write("1")
        count = len(looks)
        write("2")
        while "2" not in looks[-1]:
            time.sleep(0.001)
    assert count > 10 and len(looks) > count + 10
    assert {name[0] for name in hidden} == {"."}  # so the random name is never a number
    assert {name for look in looks for name in look} == {"1", "2"}
    assert [look for look in looks if any(broken != [] for broken in look.values())] == []
    assert all("1" in look for look in looks[count + 1 :])  # one look may have started before version 1 existed
    assert {name[0] for name in os.listdir(base) if not is_version(name)} == {"b", "d", "m"}  # and no temporary folder
