"""The commands on one tiny run: each agrees with the Python interface, and says what is wrong in one line."""

import json
import shutil
from dataclasses import asdict

import keras
import numpy as np
import pytest
import tiny
import yaml
from typer.testing import CliRunner

from keras_transformer import Tokenizer, Translator, parallel_corpus
from keras_transformer.evaluate import compare, evaluate
from keras_transformer.translation import Shortlist
from keras_transformer_cli.app import app

PAIRS = tiny.digit_pairs(97, seed=3, longest=5)
SMALL = {
    "preset": "quickstart",
    "dropout": 0.3,
    "model": ["num_encoder_layers=1", "num_decoder_layers=1", "d_model=16", "num_heads=2", "d_ff=24"],
    "subwords": "wordpiece",
    "vocabulary_size": 25,
    "segmentations": 2,
    "tokens_per_batch": 160,
    "epochs": 2,
    "average": 2,
    "peak": 0.01,
    "bleu_every": 2,
    "samples": 1,
    "precision": "float32",
    "deterministic": False,  # it would hold for the whole process of the tests
}


def run(*arguments, code=0, **options):
    result = CliRunner().invoke(app, list(map(str, arguments)), **options)
    if code != "error":
        assert result.exit_code == code, (result.output, result.exception)
    return result


def refused(*arguments, **options):
    """The message of a command that fails."""
    result = run(*arguments, code="error", **options)
    assert result.exit_code != 0
    return str(result.exception) if not isinstance(result.exception, SystemExit) else " ".join(result.stderr.split())


def weights(path):
    return keras.saving.load_model(path, compile=False).get_weights()


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    """Loads of a folder with the same options, defaults included, give one translator. It traces its search once."""
    load, found = Translator.load, {}

    def load_once(folder, dtype=None, **options):
        search = {"beam_size": 4, "length_penalty": 0.6, "max_extra_length": 50, **options}
        key = (str(folder), dtype, *sorted(search.items()))
        if key not in found:
            found[key] = load(folder, dtype, **options)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Translator, "load", load_once)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    source, target = tiny.write_pairs(folder, PAIRS)
    config = folder / "small.yaml"
    config.write_text(yaml.safe_dump(SMALL | {"source": str(source), "target": str(target)}), encoding="utf-8")
    result = run("train", "--config", config, "--output", folder / "run")
    return folder, result


def test_training_leaves_a_folder_that_everything_reads(trained):
    folder, result = trained
    output = folder / "run"
    assert result.stdout == (output / "RESULT.md").read_text(encoding="utf-8")
    names = {"model.keras", "tokenizer.model", "history.jsonl", "RESULT.md", "result.json", "config.yaml", "loss.png"}
    assert names <= {path.name for path in output.iterdir()}
    settings = yaml.safe_load((output / "config.yaml").read_text(encoding="utf-8"))
    assert settings["recipe"] == "pairs_10k" and settings["warmup_steps"] >= 1 and settings["schedule"] == "cosine"
    card = json.loads((output / "result.json").read_text(encoding="utf-8"))
    scores = {name: value["BLEU"] for name, value in card["scores"].items()}
    better_is_average = scores["validation, average"] > scores["validation, best epoch"]
    assert card["kept"] == ("the average" if better_is_average else "the epoch of the best val_perplexity")
    assert (output / "best_epoch.keras").exists() == better_is_average
    assert "epoch 2/2" in result.stderr and "→" in result.stderr
    assert "2 segmentations of each pair, in turn" in result.stderr


def test_the_saved_configuration_repeats_the_run_to_the_same_weights(trained):
    folder, _ = trained
    run("train", "--config", folder / "run" / "config.yaml", "--output", folder / "again")
    for name in ("last.keras", "average.keras", "model.keras"):
        for one, other in zip(weights(folder / "run" / name), weights(folder / "again" / name), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_finished_run_says_so_other_options_are_refused_and_more_epochs_go_on(trained):
    folder, _ = trained
    again = run("train", "--config", folder / "small.yaml", "--output", folder / "again")
    assert "This run is finished. To train further, give more --epochs." in again.stderr
    assert again.stdout == (folder / "again" / "RESULT.md").read_text(encoding="utf-8")
    message = refused("train", "--config", folder / "small.yaml", "-o", folder / "again", "--dropout", "0.4")
    assert message.endswith("holds a run with other options: dropout was 0.3 and is 0.4. Choose another --output.")
    run("train", "--config", folder / "small.yaml", "-o", folder / "again", "--epochs", 3)
    assert "epochs: 3\n" in (folder / "again" / "config.yaml").read_text(encoding="utf-8")
    assert len((folder / "again" / "history.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_a_run_that_cannot_go_on_keeps_its_result(trained, tmp_path):
    folder, _ = trained
    output, config = tmp_path / "run", tmp_path / "run" / "config.yaml"
    shutil.copytree(folder / "run", output)
    tiny.write_pairs(tmp_path, PAIRS[::-1])  # files of the same names, in another order
    config.write_text(config.read_text(encoding="utf-8").replace(f"{folder}/train", f"{tmp_path}/train"), "utf-8")
    before = config.read_bytes(), (output / "RESULT.md").read_bytes()
    assert "data.lines is " in refused("train", "--config", config, "-o", output, "--epochs", 3)
    assert before == (config.read_bytes(), (output / "RESULT.md").read_bytes())
    message = refused("train", "--config", config, "-o", output, "--epochs", 3, "--patience", 2)
    assert message == (
        f"patience=2 cannot be added: the run in {output} began without it, and has not counted. Choose another "
        "--output, or leave --patience out."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--also", "a b c d"], r"also='a b c d' must be 'SOURCE TARGET' or 'SOURCE TARGET WEIGHT'."),
        (["--valid-source", "x"], "valid_target is missing: validation needs both sides."),
        (["--model", "norm"], "model='norm' must be NAME=VALUE, for example norm=pre."),
        (
            ["--model", "window=4"],
            "window must be odd, a position and as many on each side of it, got 4.",
        ),
        (["--recipe", "pairs_7"], "unknown recipe 'pairs_7'. Did you mean 'pairs_1m'? Known recipes: pairs_10k,"),
        (["--steps", "7", "--epochs", "2"], "epochs=2 and steps=7 are both given. Drop one."),
        (["--monitor", "val_bleu", "--bleu-every", "0"], "monitor=val_bleu needs the BLEU of the validation data, and"),
        (["--also", "a b -1"], "the weight of also='a b -1' must be a finite number above 0, got -1.0."),
        (["--also", "a b nan"], "the weight of also='a b nan' must be a finite number above 0, got nan."),
        (["--also", "a 'b"], """also="a 'b" must be 'SOURCE TARGET' or 'SOURCE TARGET WEIGHT'."""),
        (["--preset", "base"], "unknown preset 'base'. Did you mean 'paper_base'? Known presets: multi30k_small,"),
        (["--model", "norm=[pre"], "model='norm=[pre': the value is no YAML: expected ',' or ']', but got"),
        (["--model", "normm=pre"], "Transformer has no option 'normm'. Did you mean 'norm'? The options are:"),
        (["--model", "num_heads=3"], "num_heads=3 does not divide d_model="),
        (["--dropout", "1"], "dropout must be in [0, 1), got 1.0."),
        (["--label-smoothing", "2"], "label_smoothing must be in [0, 1), got 2.0."),
        (["--peak", "0"], "peak must be a finite number above 0, got 0.0."),
        (["--beta-2", "1"], "beta_2 must be in [0, 1), got 1.0."),
        (["--clip-norm", "0"], "clip_norm must be a finite number above 0, got 0.0."),
        (["--length-penalty", "9"], "length_penalty must be from 0 to 6, got 9.0."),
        (["--bleu-tokenize", "14a"], "bleu_tokenize must be one of none, zh, 13a,"),
    ],
)
def test_training_refuses_what_cannot_be_meant_before_it_writes_a_file(trained, tmp_path, options, message):
    folder, _ = trained
    assert refused("train", "--config", folder / "small.yaml", "-o", tmp_path / "run", *options).startswith(message)
    assert not (tmp_path / "run").exists()


def test_training_refuses_what_does_not_fit_the_tokenizer_or_the_batches(trained, tmp_path):
    folder, _ = trained
    order = ["train", "--config", folder / "small.yaml", "-o", tmp_path / "run"]
    tokenizer = folder / "run" / "tokenizer.model"
    message = (
        f"vocabulary_size=26 cannot be: the tokenizer {tokenizer} has 25 pieces of the source. Leave the option out."
    )
    assert refused(*order, "--tokenizer", tokenizer, "--vocabulary-size", 26) == message
    assert refused(*order, "--tokenizer", folder / "train.de").startswith(f"{folder / 'train.de'}: neither a Sent")
    assert not (tmp_path / "run").exists()
    message = (
        "accumulate_steps=7 does not divide 32, the rows of a batch. Batches are small: tokens_per_batch=160. Raise"
    )
    assert refused(*order, "--accumulate-steps", 7).startswith(message)
    assert not (tmp_path / "run" / "config.yaml").exists()  # another try in this folder may change every option


def test_a_folder_of_other_files_is_refused(trained, tmp_path):
    folder, _ = trained
    (tmp_path / "thesis.txt").touch()
    message = refused("train", "--config", folder / "small.yaml", "-o", tmp_path)
    assert message == f"{tmp_path} is not empty, and holds no config.yaml of a run. Choose another --output."
    message = refused("train", "--config", folder / "small.yaml", "-o", tmp_path / "thesis.txt")
    assert message == f"output={str(tmp_path / 'thesis.txt')!r} is a file. Choose the name of a folder."


def test_translations_are_those_of_the_translator_and_lines_stay_aligned(trained, tmp_path):
    folder, _ = trained
    lines = ["3 1 4", "", " \u2028", "1 5", "9\t2", "6"]
    (tmp_path / "source").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    translator = Translator.load(folder / "run", dtype="float32")
    expected = "".join(f"{text}\n" for text in translator(lines))
    assert run("translate", folder / "run", tmp_path / "source").stdout == expected
    assert run("translate", folder / "run", tmp_path / "source", "--window", "2").stdout == expected
    run("translate", folder / "run", tmp_path / "source", "-o", tmp_path / "out")
    assert (tmp_path / "out").read_text(encoding="utf-8") == expected
    assert "out exists already" in refused("translate", folder / "run", tmp_path / "source", "-o", tmp_path / "out")
    detailed = run("translate", folder / "run", tmp_path / "source", "--n-best", 2, "--scores", "--alignment").stdout
    hypotheses = translator.n_best(lines, 2)
    rows = [line.split(" ||| ") for line in detailed.splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (str(number), each.text, f"{each.score:.6g}") for number, found in enumerate(hypotheses) for each in found
    ]
    assert all(len(row[2].split()) == len(row[1].split()) for row in rows)


def test_a_shortlist_is_learned_and_used(trained, tmp_path):
    folder, _ = trained
    files, path = (folder / "train.en", folder / "train.de"), tmp_path / "shortlist.npz"
    result = run("shortlist", folder / "run", *files, "-o", path, "--per-piece", 2, "--common", 8)
    assert result.stdout == f"{path}\n" and "Shortlist(3 pieces for each source piece, 8 for all)" in result.stderr
    corpus = parallel_corpus(*files, Tokenizer.load(folder / "run" / "tokenizer.model"))
    expected = Shortlist.learn(corpus, per_piece=2, common=8)
    assert Shortlist.load(path).digest == expected.digest
    (tmp_path / "source").write_text("3 1 4\n1 5\n", encoding="utf-8")
    texts = Translator.load(folder / "run", dtype="float32", beam_size=1, shortlist=expected)(["3 1 4", "1 5"])
    command = ["translate", folder / "run", tmp_path / "source", "--beam-size", 1, "--shortlist"]
    assert run(*command, path).stdout == "".join(f"{text}\n" for text in texts)
    assert refused("shortlist", folder / "run", *files, "-o", path).startswith(f"{path} exists already")
    assert refused(*command, tmp_path / "none.npz") == f"shortlist={str(tmp_path / 'none.npz')!r} does not exist."
    assert refused(*command, folder / "small.yaml").startswith(
        f"{folder / 'small.yaml'} is not the file of a shortlist"
    )


def test_objects_columns_and_refused_wishes(trained, tmp_path):
    folder, _ = trained
    translator = Translator.load(folder / "run", dtype="float32")
    (tmp_path / "rows").write_text('{"en": "3 1"}\n{"en": "4"}\n', encoding="utf-8")
    rows = run("translate", folder / "run", tmp_path / "rows", "--jsonl", "--field", "en").stdout.splitlines()
    assert [json.loads(row)["translation"] for row in rows] == translator(["3 1", "4"])
    (tmp_path / "table").write_text("n\ten\n1\t3 1\n", encoding="utf-8")
    table = run("translate", folder / "run", tmp_path / "table", "--tsv", "--field", "en").stdout
    assert table == f"n\ten\ttranslation\n1\t3 1\t{translator(['3 1'])[0]}\n"
    message = refused("translate", folder / "run", tmp_path / "rows", "--jsonl", "--field", "de")
    assert message == f"{tmp_path / 'rows'}, line 1: the field 'de' is missing. The fields are: en."
    (tmp_path / "half").write_text('{"en": "3 1"}\n{"en": "4"}\n{"en": "4 \\ud83d"}\n', encoding="utf-8")
    message = refused("translate", folder / "run", tmp_path / "half", "--jsonl", "--field", "en", "--window", 2)
    half = r"is not Unicode: its character 3, '\ud83d', is half a surrogate pair."
    assert message == f"{tmp_path / 'half'}, line 3, {half}"
    assert "n_best=9 must be at most beam_size=4." in refused(
        "translate", folder / "run", tmp_path / "rows", "--n-best", 9
    )
    assert "does not exist" in refused("translate", folder / "run", "nowhere")


def test_evaluate_score_average_tokenizer_and_quantize(trained, tmp_path):
    folder, _ = trained
    sources, targets = zip(*PAIRS[:7], strict=True)
    files = tiny.write_pairs(tmp_path, PAIRS[:7], "test")
    translator = Translator.load(folder / "run", dtype="float32")
    translations = translator(sources)
    found = json.loads(run("evaluate", folder / "run", *files, "--json", "-o", tmp_path / "out").stdout)
    expected = evaluate(translations, targets)
    assert (found["bleu"], found["chrf"]) == (expected.bleu, expected.chrf)
    assert run("evaluate", tmp_path / "out", files[1], "--translated").stdout == f"{expected}\n"
    assert "has 7 lines and" in refused("evaluate", folder / "run", files[0], folder / "train.de")
    rows = [line.split("\t") for line in run("score", folder / "run", *files, "--tokens").stdout.splitlines()]
    for row, score in zip(rows, translator.score(sources, targets), strict=True):
        assert row[:2] == [f"{score.score:.6g}", f"{score.log_probability:.6g}"]
        assert [pair.rpartition(":")[0] for pair in row[2].split()] == list(score.tokens)
    states = sorted((folder / "run" / "averaged").glob("*.npz"))
    run("average", *states, "-o", tmp_path / "mean")
    for one, other in zip(
        weights(folder / "run" / "average.keras"), weights(tmp_path / "mean" / "model.keras"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    tokenizer = Tokenizer.load(folder / "run" / "tokenizer.model")
    assert run("tokenizer", "show", folder / "run", "3 14").stdout.split() == tokenizer.pieces(tokenizer.encode("3 14"))
    trained_again = run(
        "tokenizer", "train", *files, "-o", tmp_path / "t", "--vocabulary-size", 25, "--subwords", "wordpiece"
    )
    assert trained_again.stdout == f"{tmp_path / 't'}\n"
    assert run("tokenizer", "show", tmp_path / "t", "--ids", input="1 1\n").stdout.split()[0].isdigit()
    shown = [run("tokenizer", "show", tmp_path / "t", input=f"1 1{end}").stdout for end in ("\n", "\r\n")]
    assert shown[0] == shown[1]  # line ends of Windows
    shutil.copytree(folder / "run", tmp_path / "other")
    tiny.make_tokenizer(tmp_path / "bytes", "bpe").save(tmp_path / "other" / "tokenizer.model", overwrite=True)
    both = folder / "run" / "model.keras", tmp_path / "other" / "model.keras"
    assert "have different tokenizers, so their models have no mean." in refused(
        "average", *both, "-o", tmp_path / "no"
    )
    assert not (tmp_path / "no").exists()
    assert "no matrix of this model has 65,536 weights" in refused("quantize", folder / "run", tmp_path / "int8")


def test_an_export_translates_as_the_folder_and_refuses_what_it_cannot_do(trained, tmp_path):
    folder, _ = trained
    export = tmp_path / "digits" / "1"
    assert run("export", folder / "run", export, "--no-check", "--beam-size", 2).stdout == f"{export}\n"
    text = tmp_path / "text"
    text.write_text("3 1 4\n\n1 5\n", encoding="utf-8")
    for more in ([], ["--n-best", "2"]):
        served, loaded = (
            run("translate", model, text, *beam, *more).stdout
            for model, beam in ((export, []), (folder / "run", ["--beam-size", "2"]))
        )
        assert served == loaded
    run("translate", export, text, "--output", tmp_path / "written")
    assert (tmp_path / "written").read_text(encoding="utf-8") == run("translate", export, text).stdout
    out = tmp_path / "out"
    compared = json.loads(run("evaluate", folder / "run", text, text, "--against", export, "-o", out, "--json").stdout)
    served = run("translate", export, text).stdout.split("\n")[:-1]
    systems = {str(folder / "run"): out.read_text(encoding="utf-8").split("\n")[:-1], str(export): served}
    assert compared == asdict(compare(systems, text.read_text(encoding="utf-8").split("\n")[:-1]))
    assert refused("translate", export, text, "--beam-size", 2).startswith("beam_size is fixed in an export")
    assert refused("translate", export, text, "--alignment").startswith("alignment needs the training folder")
    (tmp_path / "half").write_text('{"text": "4"}\n{"text": "\\udc80"}\n', encoding="utf-8")
    assert refused("translate", export, tmp_path / "half", "--jsonl") == (
        rf"{tmp_path / 'half'}, line 2, is not Unicode: its character 1, '\udc80', is half a surrogate pair."
    )
    assert refused("translate", export, text, "--n-best", 3) == (
        f"n_best=3 must be at most beam_size=2, the beam that {export} was exported with."
    )
    run("export", folder / "run", tmp_path / "wide" / "1", "--no-check", "--beam-size", 5)
    assert len(run("translate", tmp_path / "wide" / "1", text, "--n-best", 5).stdout.split("\n")[:-1]) > 2 * 4 + 1
    assert refused("score", export, text, text) == (
        f"{export} is an export. This needs the training folder that it was made from."
    )
    assert "--serving has no meaning with --to marian" in refused(
        "export", folder / "run", "x", "--to", "marian", "--serving"
    )


def test_presets_doctor_and_import(tmp_path):
    shown = run("presets").stdout
    assert "paper_big_en_fr" in shown and "t2t_v3" in shown and "attention_dropout=0.1" in shown and "…" not in shown
    assert (
        "pairs_30k" in run("presets", "--pairs", 31_000).stdout
        and "pairs_10k" not in run("presets", "--pairs", 31_000).stdout
    )
    result = run("doctor")
    assert "Nothing is wrong." in result.stdout and "tensorflow-text" in result.stdout
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused("import", tmp_path / "empty", "-o", tmp_path / "model")
