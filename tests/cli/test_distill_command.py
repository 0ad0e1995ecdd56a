"""keras-transformer distill: the teacher's translations, the mixture, and a run that was interrupted."""

import json

import pytest
import tiny
import yaml
from sacrebleu import sentence_bleu
from test_commands import SMALL, loaded_once, refused, run  # noqa: F401 - the second is a fixture for all tests

from keras_transformer import Translator
from keras_transformer.translation import whole_file
from keras_transformer_cli import training

PAIRS = tiny.digit_pairs(41, seed=5, longest=5)
SEARCH = {"beam_size": 3, "length_penalty": 0.6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher, which is not trained, two aligned files, and the options of a small student."""
    folder = tmp_path_factory.mktemp("distill")
    tiny.write_pairs(folder, PAIRS)
    teacher = Translator(tiny.make_opinionated(), tiny.make_tokenizer(folder / "tokenizer"), **SEARCH)
    teacher.save(folder / "teacher")
    options = {name: value for name, value in SMALL.items() if name not in ("subwords", "vocabulary_size")}
    options |= {"epochs": 1, "average": 1, "bleu_every": 0, "samples": 0, "beam_size": 1, "valid_pairs": 7}
    options |= {"source": str(folder / "train.en"), "target": str(folder / "train.de")}
    options |= {"teacher": str(folder / "teacher"), "teacher_beam_size": 3}
    (folder / "student.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
    return folder


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def hypotheses(folder, sentences):
    return Translator.load(folder / "teacher", dtype="float32", **SEARCH).n_best(sentences)


def bleu(text, reference):
    return sentence_bleu(text, [reference]).score


def test_the_student_learns_from_the_teacher_and_the_given_translations(folder, monkeypatch):
    losses, fit = [], training.fit
    monkeypatch.setattr(training, "fit", lambda model, *rest: (losses.append(model.loss), fit(model, *rest)))
    command = ["--config", folder / "student.yaml", "--output", folder / "student", "--word-level", "0.25"]
    result = run("distill", *command)
    data = folder / "student" / "data"
    sources, held_out = lines(data / "train.source"), lines(data / "valid.source")
    assert len(sources) == 34 and len(held_out) == 7 and not set(sources) & set(held_out)
    best = [found[0].text for found in hypotheses(folder, sources)]
    assert lines(data / "teacher.target") == best
    card = json.loads((folder / "student" / "result.json").read_text(encoding="utf-8"))
    assert card["corpus"]["pairs"] == 68 and "validation, best epoch" in card["scores"]
    assert card["teacher"] == {
        "teacher": str(folder / "teacher"),
        "keep": "best",
        "mixture": True,
        "teacher_beam_size": 3,
        "teacher_length_penalty": 0.6,
        "word_level": 0.25,
    }
    [loss] = losses
    assert loss.weight == 0.25
    teacher = Translator.load(folder / "teacher", dtype="float32").model
    for found, weight in zip(loss.teachers.models[0].get_weights(), teacher.get_weights(), strict=True):
        assert (found == weight).all()
    assert "- keep: best" in result.stdout
    tokenizers = [(each / "tokenizer.model").read_bytes() for each in (folder / "teacher", folder / "student")]
    assert tokenizers[0] == tokenizers[1]
    config = yaml.safe_load((folder / "student" / "config.yaml").read_text(encoding="utf-8"))
    assert config["source"] == str(folder / "train.en") and not config["also"] and config["valid_source"] is None
    assert "This run is finished" in run("distill", "--config", folder / "student" / "config.yaml").stderr


def test_a_teacher_that_was_interrupted_goes_on_and_the_closest_translations_are_kept(folder, monkeypatch):
    """Lines 1 to 9 are translated, then the power fails; then the others are."""
    monkeypatch.setattr(training, "fit", lambda *arguments: (_ for _ in ()).throw(tiny.Broken))
    append, calls = whole_file._append, []

    def breaks(stream, texts):
        append(stream, texts[:9])
        raise KeyboardInterrupt

    command = ["--config", folder / "student.yaml", "--output", folder / "other", "--keep", "closest", "--no-mixture"]
    with monkeypatch.context() as patch:
        patch.setattr(whole_file, "_append", breaks)
        run("distill", *command, code="error")
    data = folder / "other" / "data"
    assert len(lines(data / "teacher.target.part")) == 9
    said = refused("distill", *command, "--keep", "best")
    assert said == f"{data} holds other work of a teacher: keep was 'closest' and is 'best'. Choose another folder."
    monkeypatch.setattr(whole_file, "_append", lambda stream, texts: (calls.append(len(texts)), append(stream, texts)))
    assert isinstance(run("distill", *command, code="error").exception, tiny.Broken)
    assert calls == [34 - 9]
    rows = zip(hypotheses(folder, lines(data / "train.source")), lines(data / "train.target"), strict=True)
    closest = [
        max((h.text for h in found), key=lambda text: sentence_bleu(text, [right]).score) for found, right in rows
    ]
    assert lines(data / "teacher.target") == closest
    best = [found[0].text for found in hypotheses(folder, lines(data / "train.source"))]
    assert closest != best


@pytest.mark.parametrize(
    "changes, message",
    [
        (["--set", "teacher={}/nothing"], "nothing"),
        (["--set", "source={}/nothing"], "nothing"),
        (["--ensemble", "{}/export"], "is an export. This needs the training folder"),
        (["--vocabulary-size", "25", "--set", "peak=-1"], "peak"),
        (["--word-level", "0.5", "--vocabulary-size", "25"], "word_level=0.5 needs the teacher's tokenizer"),
        (["--word-level", "0.5", "--tokenizer", "{}/tokenizer"], "Leave out tokenizer."),
        (["--word-level", "1.5"], "less than or equal to 1"),
        (["--set", "word_level=-1"], "word_level must be in [0, 1], got -1"),
    ],
)
def test_mistakes_are_named_before_the_teacher_works(folder, changes, message):
    (folder / "export").mkdir(exist_ok=True)
    (folder / "export" / "saved_model.pb").touch()
    changes = [change.format(folder) for change in changes]
    said = refused("distill", "--config", folder / "student.yaml", "--output", folder / "never", *changes)
    assert message in said, said
    assert not (folder / "never" / "data" / "teacher.target").exists()


def test_references_that_do_not_fit_are_refused(folder, tmp_path):
    translator = Translator.load(folder / "teacher", dtype="float32", **SEARCH)
    (tmp_path / "short").write_text("1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"references_path='.*short' has 1 lines and .*train.en has 41: they must be"):
        translator.translate_file(folder / "train.en", tmp_path / "out", references_path=tmp_path / "short")
    with pytest.raises(ValueError, match="references_path and split_sentences=True cannot go together"):
        options = {"references_path": folder / "train.de", "split_sentences": True}
        translator.translate_file(folder / "train.en", tmp_path / "out", **options)
