"""The report on a SavedModel, and the exit status of the command."""

import hand_made
import pytest
import tensorflow as tf

from keras_transformer.export.checks import doctor as module
from keras_transformer.export.checks.doctor import doctor, main
from keras_transformer.export.checks.saved_model import read_saved_model
from keras_transformer.export.server.warmup import write_warmup
from keras_transformer.files import sha256


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return hand_made.save_all(tmp_path_factory.mktemp("en_de") / "1")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A SavedModel that calls Python."""

    def call(sentences):
        return {"translations": tf.numpy_function(lambda strings: strings, [sentences], tf.string)}

    return hand_made.save(tmp_path_factory.mktemp("python") / "1", call)


def test_the_report_shows_the_important_facts(path):
    report = doctor(path)
    assert report.healthy and report.unsupported == {}
    text = str(report)
    for part in (
        "sentences: string [?]",
        "source_ids: int32 [?, ?]",
        "scores: float32 [?]",
        f"written by TensorFlow {tf.__version__}",
        f"{report.contents.ops.total()} ops of {len(report.contents.ops)} kinds",
        "warm-up          no records",
        "a stock server   has every op",
        "TensorFlow Text  no op is used",
        "there is no SHA256SUMS",
    ):
        assert part in text
    assert "warning" not in text


def test_warm_up_records_and_changed_files_are_in_the_report(tmp_path):
    path = hand_made.save(tmp_path / "1")
    write_warmup(read_saved_model(path), ["ein haus"], batch_sizes=(1, 2))
    good = f"{sha256(path / 'saved_model.pb')}  saved_model.pb\n"
    (path / "SHA256SUMS").write_text(good)
    assert "2 records" in str(doctor(path)) and "all agree with SHA256SUMS" in str(doctor(path))
    assert main([str(path)]) == 0
    (path / "SHA256SUMS").write_text(f"{good}{'0' * 64}  fingerprint.pb\n{'0' * 64}  absent.bin\n")
    assert doctor(path).broken == ["absent.bin", "fingerprint.pb"]
    assert "these differ from SHA256SUMS: absent.bin, fingerprint.pb" in str(doctor(path))
    assert main([str(path)]) == 1
    (path / "SHA256SUMS").write_text(f"{good}nonsense\n")
    with pytest.raises(ValueError, match=r"SHA256SUMS, line 2: expected a digest, two spaces and a name"):
        doctor(path)


def test_the_exit_status_says_whether_a_server_runs_it(path, python, capsys):
    assert main([str(path)]) == 0
    assert "has every op" in capsys.readouterr().out
    assert main([str(python)]) == 1
    assert "PyFunc calls Python, which a server does not have" in " ".join(capsys.readouterr().out.split())
    assert main([str(path.parent)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and "is not a SavedModel, but holds the versions 1." in error
    assert main([str(path / "absent")]) == 1


def test_the_report_warns_of_another_project_with_the_same_import_name(path, monkeypatch):
    monkeypatch.setattr(module, "version", {"keras-transformer": "0.40.0"}.__getitem__)
    report = doctor(path)
    assert report.namesake == "0.40.0" and report.healthy
    assert "another project, keras-transformer 0.40.0, is installed here" in " ".join(str(report).split())
