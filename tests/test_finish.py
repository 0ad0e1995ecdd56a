"""An export finished for deployment: checks first, then its files; and a server never sees half of it."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time

import hand_made
import pytest
import tensorflow as tf
import tiny

from keras_transformer import Translator
from keras_transformer.exporting import finish as module
from keras_transformer.exporting.card import ExportFacts, broken_files, digest, write_card
from keras_transformer.exporting.doctor import doctor
from keras_transformer.exporting.example_inputs import example_sentences
from keras_transformer.exporting.finish import finish
from keras_transformer.exporting.saved_model import is_version, read_saved_model
from keras_transformer.exporting.serving_files import Batching
from keras_transformer.files import written_beside


def facts_of(sentences, translations, **more):
    options = {"beam_size": 2, "length_penalty": 0.6}
    return ExportFacts(sentences, translations, None, options, max_source_length=37, precision="float32", **more)


ECHO = facts_of(["ein haus"], ["EIN HAUS"])


class TestARealExport:
    @pytest.fixture(scope="class")
    def done(self, tmp_path_factory):
        """A tiny translator's export, finished and moved into place; its path and what it was made of."""
        folder = tmp_path_factory.mktemp("finished")
        tokenizer = tiny.make_tokenizer(folder / "corpus", "bpe")
        model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
        translator = Translator(model, tokenizer, beam_size=2, max_extra_length=4)
        (folder / "run").mkdir()
        (folder / "run" / "RESULT.md").write_text("# BLEU 41.0\n")
        sentences = example_sentences(tokenizer)
        facts = facts_of(sentences, translator(sentences), training_folder=folder / "run", more={"parameters": "2,003"})
        path = folder / "en_de" / "1"
        with written_beside(path) as beside:
            translator.export(folder / "plain")
            shutil.copytree(folder / "plain", beside)
            written, kept = finish(beside, path, facts, Batching(max_batch_size=5))
        return path, facts, written, kept

    def test_everything_is_in_place(self, done):
        path, facts, written, kept = done
        assert all(facts.sentences) and len({len(sentence) for sentence in facts.sentences}) == 3
        names = ["batching.config", "docker-compose.yml", "models.config", "monitoring.config"]
        assert sorted(file.name for file in written) == names and kept == []
        assert sorted(os.listdir(path.parent)) == ["1", *names]
        assert (path / "RESULT.md").read_text() == "# BLEU 41.0\n"
        report = doctor(path)
        assert report.healthy and report.broken == []
        assert report.contents.num_warmup_records == 2 * len(report.contents.signatures)
        assert "SentencepieceTokenizeOp" in str(report)

    def test_sha256sum_agrees(self, done):
        path, *_ = done
        result = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=path, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        listed = {line.partition(":")[0] for line in result.stdout.splitlines()}
        assert listed == set(read_saved_model(path).files) - {"SHA256SUMS"}

    def test_the_readme_says_what_it_is_and_how_to_ask(self, done):
        path, facts, *_ = done
        text = (path / "README.md").read_text()
        assert text.startswith("# en_de, version 1\n")
        assert "| output | `translations` | string | [?] | text, UTF-8 |" in text
        assert "- `beam_size`: 2\n" in text and "the first 37 tokens" in text and "at most 5 sentences" in text
        assert "- parameters: 2,003\n" in text and f"tensorflow {tf.__version__}" in text
        assert f"{digest(path / 'saved_model.pb')}  saved_model.pb" in text
        [command] = re.findall(r"^curl .*$", text, re.MULTILINE)
        asked = subprocess.run(["bash", "-c", command.replace("curl", "printf '%s\n'")], capture_output=True, text=True)
        url, flag, body = asked.stdout.splitlines()
        assert (url, flag) == ("http://localhost:8501/v1/models/en_de:predict", "-d")
        assert json.loads(body) == {"inputs": {"sentences": [facts.sentences[-1]]}}
        [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        compile(code, "README.md", "exec")


def test_every_signature_and_tensor_of_the_house_has_a_meaning(tmp_path):
    def n_best(sentences):
        return {"translations": tf.stack([sentences] * 2, 1), "scores": tf.zeros([tf.shape(sentences)[0], 2])}

    folder = hand_made.save(tmp_path / "1", score=hand_made.score, ids=hand_made.ids, n_best=n_best)
    write_card(folder, read_saved_model(folder), folder, ECHO)
    text = (folder / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| input", "| output"))]
    assert len(rows) == 12
    assert [row for row in rows if row.endswith("|  |")] == []
    assert "| output | `translations` | string | [?, 2] | text, UTF-8, best first; empty" in text
    assert "the N hypotheses of each sentence's search" in text
    write_card(folder, read_saved_model(folder), folder, ECHO)  # again: no digest of the README that is replaced
    assert not re.search(r"[0-9a-f]{64}  README\.md", (folder / "README.md").read_text())
    assert broken_files(folder) == []


def checks(monkeypatch):
    """In place of the slow clean process."""
    monkeypatch.setattr(module, "verify", lambda *arguments: None)


@pytest.mark.parametrize("failure", ["op", "verify", "path", "models.config"])
def test_what_fails_leaves_nothing(tmp_path, monkeypatch, failure):
    checks(monkeypatch)
    base = tmp_path / "en_de"
    function, path, error = hand_made.echo, base / "2", ValueError
    base.mkdir()
    before = {"1"}
    (base / "1").mkdir()
    if failure == "op":
        function = lambda sentences: {"x": tf.numpy_function(lambda x: x, [sentences], tf.string)}  # noqa: E731
    if failure == "verify":
        error = RuntimeError

        def fail(*arguments):
            raise RuntimeError("translates otherwise")

        monkeypatch.setattr(module, "verify", fail)
    if failure == "path":
        path = base / "best"
    if failure == "models.config":
        (base / "models.config").write_text('model_config_list { config { name: "de_en" } }')
        before.add("models.config")
    with pytest.raises(error), written_beside(path) as beside:
        hand_made.save(beside, function)
        finish(beside, path, ECHO, Batching())
    assert set(os.listdir(base)) == before


def test_without_a_server_nothing_is_written_outside_the_folder(tmp_path, monkeypatch):
    checks(monkeypatch)
    path = tmp_path / "anywhere" / "best"
    with written_beside(path) as beside:
        hand_made.save(beside)
        assert finish(beside, path, ECHO) == ([], [])
    assert os.listdir(path.parent) == ["best"]
    assert broken_files(path) == []
    assert read_saved_model(path).num_warmup_records is None


@contextlib.contextmanager
def watching(base):
    """What a poller of `base` sees while the block runs: a list of one dictionary a look, version to what is wrong."""
    looks, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            found = {}
            for name in os.listdir(base):
                if is_version(name):
                    found[name] = broken_files(base / name)
            looks.append(found)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        stop.set()
        thread.join()


def test_a_version_that_is_being_written_is_never_seen_half(tmp_path, monkeypatch):
    checks(monkeypatch)
    base = tmp_path / "en_de"
    source = hand_made.save(tmp_path / "source")

    def slowly(beside):
        """Every file in two halves, with a look in between."""
        for file in sorted(source.rglob("*")):
            target = beside / file.relative_to(source)
            if file.is_dir():
                target.mkdir(parents=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
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
            finish(beside, base / version, ECHO, Batching())

    base.mkdir()
    with watching(base) as looks:
        write("1")
        count = len(looks)
        write("2")
        while "2" not in looks[-1]:
            time.sleep(0.001)
    assert count > 10 and len(looks) > count + 10
    assert {name for look in looks for name in look} == {"1", "2"}
    assert [look for look in looks if any(wrong != [] for wrong in look.values())] == []
    assert all("1" in look for look in looks[count:])
    assert {name[0] for name in os.listdir(base) if not is_version(name)} == {"b", "d", "m"}  # and no leftover
