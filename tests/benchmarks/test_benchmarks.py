"""Each benchmark runs once, tiny, and writes its results."""

import importlib.util
import json

import convergence
import corpus
import export_precision
import numpy as np
import products
import pytest
import tensorflow as tf
import tiny
import train_memory
import train_profile
import train_step
import train_step_gpu
import typer
from train_contenders import Case, flop, weights_flop
from xla_flags import QUICK_TO_COMPILE

from keras_transformer import Transformer, Translator, presets

TINY = {"epochs": 2, "tokens_per_batch": 400, "vocabulary_size": 281}


def test_convergence(tmp_path, capsys, monkeypatch, small_preset):
    monkeypatch.setitem(presets.PRESETS, "multi30k_tiny", presets.preset(small_preset))
    tiny.write_multi30k(tmp_path / "corpus", "{split}.lc.norm.tok.{language}")
    output = tmp_path / "results"
    output.mkdir()
    first = next(iter(convergence.VARIANTS))
    done = {"variant": first, **TINY, "target_tokens": [5, 10], "val_perplexity": [9.0, 7.0]}
    (output / "ours_value_output_and_ffn_8n_1_4.json").write_text(json.dumps(done))  # so it is not trained again
    convergence.main(output, data=tmp_path / "corpus", only=[0, 1], **TINY)
    curves = json.loads((output / "glorot_for_every_kernel.json").read_text())
    assert [len(curves[key]) for key in ("target_tokens", "perplexity", "val_perplexity")] == [2, 2, 2]
    assert curves["target_tokens"][1] == 2 * curves["target_tokens"][0]
    assert (output / "convergence.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "variant 1" in printed and "variant 0:" not in printed
    assert f"| {first} | 10 | 7.00 |" in printed
    with pytest.raises(typer.BadParameter, match="was made with other options"):
        convergence.main(output, data=tmp_path / "corpus", **{**TINY, "epochs": 3})


def test_export_precision(tmp_path, monkeypatch):
    tiny.write_multi30k(tmp_path / "corpus", "{split}.lc.norm.tok.{language}")
    Translator(tiny.make_opinionated(), tiny.make_tokenizer(tmp_path / "learnt")).save(tmp_path / "model")
    exports = {name: {"precision": name} for name in ("float32", "int8")}
    monkeypatch.setattr(export_precision, "EXPORTS", exports)
    monkeypatch.setattr(
        export_precision, "in_a_process", lambda script, *arguments: export_precision.resident(*arguments)
    )
    export_precision.main(tmp_path / "model", tmp_path / "results", data=tmp_path / "corpus", beam=1, rounds=1)
    report = json.loads((tmp_path / "results" / "export_precision.json").read_text())
    whole, small = (report["results"][precision] for precision in ("float32", "int8"))
    assert report["sentences"] == 20
    assert (whole["size_share"], whole["bleu_difference"], whole["different_translations"]) == (1, 0, 0)
    assert small["size_share"] == small["bytes"] / whole["bytes"]
    assert min(whole["sentences_a_second"], small["sentences_a_second"]) > 0
    assert min(whole["memory"], small["memory"]) > 50 * 2**20
    lines = (tmp_path / "results" / "export_precision.md").read_text().splitlines()
    assert len(lines) == 4 and lines[3].startswith("| int8 | ")


@pytest.mark.parametrize(
    "initialize", [convergence.glorot, convergence.keras_attention, convergence.fairseq, convergence.marian]
)
def test_initializers_redraw_what_they_say(initialize):
    model = tiny.make_model(d_model=32, num_heads=4)
    before = {weight.path: weight.numpy() for weight in model.weights}
    initialize(model)
    changed = {weight.path for weight in model.weights if (weight.numpy() != before[weight.path]).any()}
    embeddings = {path for path in before if convergence.is_embedding(path)}
    kernels = {path for path in before if path.endswith("kernel")}
    assert changed == kernels | (embeddings if initialize is convergence.marian else set())
    limits = {  # of a 32 x 32 projection: fans 32 + 32; 32·4 + 32·8, as Keras has them; and half of the variance
        convergence.glorot: (6 / 64) ** 0.5,
        convergence.keras_attention: (6 / (128 + 256)) ** 0.5,
        convergence.fairseq: (3 / 64) ** 0.5,
    }
    if initialize in limits:
        attention = model.encoder.layers[0].self_attention
        query, key = (
            projection.kernel.numpy() for projection in (attention.query_projection, attention.key_projection)
        )
        assert abs(np.corrcoef(query.ravel(), key.ravel())[0, 1]) < 0.2
        highest = abs(query).max()
        assert 0.97 * limits[initialize] < highest <= limits[initialize]


def test_train_step(tmp_path, monkeypatch, capsys, in_this_process, small_preset):
    in_this_process(train_step)
    monkeypatch.setattr(train_step, "CONFIGURATIONS", {small_preset: (281, 3, 5)})
    contenders = ["ours", *(["torch"] if importlib.util.find_spec("torch") else [])]
    options = {"dtype": ["float32"], "contender": contenders, "rounds": 1, "seconds": 0.01}
    train_step.main(tmp_path, **options)
    results = json.loads((tmp_path / "train_step.json").read_text())
    assert [result["contender"] for result in results] == [train_step.MATRIX, *contenders]
    for result in results:
        assert result["steps"] >= train_step.FEWEST and {"peak_mib", "imports_mib"} <= set(result)
        assert result["tokens_per_second"] == pytest.approx(15 / result["seconds"])
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "train_step.md").read_text()
    assert "small, float32; matrix products at" in printed and "| ours |" in printed


def test_train_step_gpu(tmp_path, monkeypatch, capsys):
    """On a processor, without PyTorch, which takes half a minute to compile."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install -e '.[jax]'")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("XLA_FLAGS", QUICK_TO_COMPILE)
    monkeypatch.setattr(train_step_gpu, "CONTENDERS", ("ours",))
    monkeypatch.setattr(train_step_gpu, "VOCABULARY_SIZE", 281)
    train_step_gpu.main(tmp_path, preset="quickstart", rows=2, length=3, matrix_size=64, rounds=1)
    results = json.loads((tmp_path / "train_step_gpu.json").read_text())
    assert results["ours"][0]["seconds"] > 0 and results[train_step_gpu.MATRIX][0]["device"] == "cpu"
    printed = capsys.readouterr().out
    assert printed.startswith("quickstart, bfloat16, 2 rows of 3: 6 + 6 tokens; cpu, ") and "| ours | " in printed


def test_train_profile(tmp_path, monkeypatch, capsys, in_this_process, small_preset):
    in_this_process(train_profile)
    monkeypatch.setattr(train_step, "CONFIGURATIONS", {small_preset: (281, 3, 5)})
    train_profile.main(tmp_path, dtype=["float32"], seconds=0.01)
    [profile] = json.loads((tmp_path / "train_profile.json").read_text())
    groups, sizes = profile["groups"], profile["sizes"]
    assert sum(group["share"] for group in groups.values()) == pytest.approx(1)
    attentions = sizes["num_encoder_layers"] + 2 * sizes["num_decoder_layers"]
    assert groups["attention products"]["ops"] == 6 * attentions  # two products, and two gradients of each
    weights = Transformer.from_preset(small_preset, vocabulary_size=281).trainable_weights
    assert groups["Adam"]["ops"] == len(weights)
    assert "| products with weights | " in capsys.readouterr().out


def test_train_memory(tmp_path, capsys):
    options = {"preset": "quickstart", "vocabulary_size": 281, "rows": 6, "length": 5, "rounds": 1}
    train_memory.main(tmp_path, parts=[3], **options)
    (result,) = json.loads((tmp_path / "train_memory.json").read_text())
    assert result["peak_mib"] > result["held_mib"] > 0 and result["imports_mib"] > 0
    assert result["held_mib"] == pytest.approx(5 * result["parameters"] * 4 / 2**20)
    table = (tmp_path / "train_memory.md").read_text()
    assert table in capsys.readouterr().out and "| 3 | 2 | " in table


def test_flop_by_hand():
    sizes = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 2, "d_ff": 3}
    case = Case("by hand", 7, rows=5, length=11, dtype="float32", threads=1, sizes=sizes)
    # Weights: four matrices 2 x 2 in the encoder, eight in the decoder, two 2 x 3 in each, one 7 x 2; 55 tokens.
    # Attention: three times 55 x 11 scores. Each is a sum of D = 2 products.
    assert weights_flop(case) == 3 * 2 * 55 * (12 * 4 + 2 * 12 + 14)
    assert flop(case) == 3 * 2 * (55 * (12 * 4 + 2 * 12 + 14) + 2 * 3 * 55 * 11 * 2)


def test_products_of_an_update_are_a_value_and_its_gradients():
    """They are compared with TensorFlow's gradients of half the sum of squares of x·W_1·W_2."""
    rng = np.random.default_rng(0)
    x, *kernels = (tf.constant(rng.normal(size=shape), tf.float32) for shape in ((5, 2), (2, 3), (3, 7)))
    with tf.GradientTape() as tape:
        tape.watch([x, *kernels])
        half = tf.reduce_sum((x @ kernels[0] @ kernels[1]) ** 2) / 2
    towards_x, gradients = products.there_and_back(x, kernels)
    for gradient, expected in zip([towards_x, *gradients], tape.gradient(half, [x, *kernels]), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_corpus(tmp_path, capsys, in_this_process):
    in_this_process(corpus)
    paths = tiny.write_pairs(tmp_path, tiny.digit_pairs(40))
    corpus.main(*paths, tmp_path / "results", times=[2], vocabulary_size=281, tokens_per_batch=100)
    results = json.loads((tmp_path / "results" / "corpus.json").read_text())
    (learning,), (reading,) = results["learn"], results["read"]
    assert (reading["times"], reading["pairs"], reading["kept"]) == (2, 80, 80)
    assert reading["batches"] > 3
    # Peaks of memory mean something in a process of its own only.
    assert {"peak", "peak_after_reading"} <= set(reading) and "peak" in learning
    table = (tmp_path / "results" / "corpus.md").read_text()
    assert table in capsys.readouterr().out and "| 2x | " in table
