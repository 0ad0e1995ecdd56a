"""The benchmarks of decoding run tiny, compare contenders that do the same work, and write their results."""

import importlib.util
import json
import shutil

import decode
import decode_curves
import decode_profile
import decode_trained
import numpy as np
import products
import pytest
import sacrebleu
import tensorflow as tf
import tiny
import train_step
import typer

from keras_transformer import Translator


def test_decode(tmp_path, capsys, in_this_process, small_preset):
    in_this_process(decode)
    decode.main(tmp_path, preset=[small_preset], contender=["ours", "export"], batch=[1], beam=[2], seconds=0.01)
    ours, export = json.loads((tmp_path / "decode.json").read_text())
    assert (ours["contender"], export["contender"]) == ("ours", "export")
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "decode.md").read_text()
    assert f"| small, 1, 2, together | ours | export | {export['seconds'] / ours['seconds']:.2f} |" in printed


def test_decode_trained(tmp_path, capsys, monkeypatch, in_this_process):
    """The contender is an export. It must translate as `Translator` does."""
    tokenizer = tiny.make_tokenizer(tmp_path / "corpus", "bpe")
    model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
    Translator(model, tokenizer).save(tmp_path / "run")
    sentences = ["3 1 4", "1 5", "9 2 6 5"]
    (tmp_path / "test.en").write_text("".join(f"{line}\n" for line in sentences))
    arguments = {"model": tmp_path / "run", "source": tmp_path / "test.en", "contender": ["export"], "beam": [2]}
    translator = Translator(model, tokenizer, beam_size=2, length_penalty=0.0, max_length=decode_trained.LONGEST)
    best_ones = [best for [best] in translator.n_best(sentences, 1)]
    references = [f"{best.text} 1 2 3 4" for best in best_ones]
    reference = tmp_path / "test.de"
    reference.write_text("".join(f"{line}\n" for line in references))

    in_this_process(decode_trained)
    measured, measure = [], decode_trained.in_a_process

    def recorded(script, *case):
        measured.append(measure(script, *case)["translations"])
        return {"seconds": 0.5, "translations": measured[-1]}

    monkeypatch.setattr(decode_trained, "in_a_process", recorded)
    export = Translator.export

    def export_once(self, folder, **options):
        """Both ways decode the same export, which takes most of the time."""
        if not (tmp_path / "export").exists():
            export(self, tmp_path / "export", **options)
        shutil.copytree(tmp_path / "export", folder)

    monkeypatch.setattr(Translator, "export", export_once)
    decode_trained.main(tmp_path / "results", **arguments, reference=reference, repeats=1)
    together, apart = json.loads((tmp_path / "results" / "decode_trained.json").read_text())
    assert together["way"] == "together" and apart["way"] == "apart"
    bleu = sacrebleu.corpus_bleu([best.text for best in best_ones], [references]).score
    assert together["bleu"] == apart["bleu"] == pytest.approx(bleu)
    assert together["sentences_per_second"] == 3 / 0.5
    assert "| 64 | 2 | apart | export |" in capsys.readouterr().out
    for translations in measured:
        for (pieces, score), best in zip(translations, best_ones, strict=True):
            assert list(pieces) == list(best.tokens[: len(best.tokens) - best.finished])
            assert score == pytest.approx(best.log_probability, abs=1e-4)
    reference.write_text("1\n")
    with pytest.raises(typer.BadParameter, match="must have as many lines as --source"):
        decode_trained.main(tmp_path / "results", **arguments, reference=reference)


@pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="needs the extra parity")
def test_our_weights_in_transformers_give_our_logits():
    import torch
    from as_marian import as_marian

    with pytest.raises(ValueError, match="tie_embeddings"):
        as_marian(tiny.make_random())
    model = tiny.make_random(tie_embeddings="all", d_model=22, d_ff=29, num_encoder_layers=2, num_decoder_layers=3)
    x, _ = tiny.random_batch(np.random.default_rng(0), [7, 6, 2], [5, 3, 8])
    source, target = (torch.tensor(np.asarray(x[side], "int64")) for side in ("source", "target"))
    with torch.inference_mode():
        logits = as_marian(model)(source, attention_mask=(source != 0).long(), decoder_input_ids=target).logits
    tokens = np.asarray(x["target"]) != 0
    np.testing.assert_allclose(logits.numpy()[tokens], model(x).numpy()[tokens], rtol=0, atol=1e-4)


def test_decode_profile(tmp_path, capsys, monkeypatch, in_this_process, small_preset):
    in_this_process(decode_profile)
    monkeypatch.setattr(train_step, "MATRIX_SIZE", 64)
    decode_profile.main(tmp_path, preset=[small_preset], batch=[3], beam=[2], calls=1)
    [profile] = json.loads((tmp_path / "decode_profile.json").read_text())
    groups = profile["groups"]
    assert sum(row["share"] for row in groups.values()) == pytest.approx(1)
    assert groups[decode_profile.OUTPUT_MAP]["nodes_a_token"] == 1
    assert groups["attention products"]["nodes_a_token"] >= 4  # two products for each of two attentions
    assert profile["floor_seconds"] > 0 and profile["seconds"] > 0
    assert "| output map | " in capsys.readouterr().out


def test_the_floor_counts_weights_once_a_token():
    """Two layers of (4 + 2)·128² + 2·128·256 weights and 128·281 of the output map, by 3 + 3·2·29 tokens."""
    weights = 2 * (6 * 128**2 + 2 * 128 * 256) + 128 * 281
    assert decode_profile.work(decode.make_model("quickstart"), 3, 2) == 2 * weights * (3 + 3 * 2 * 29)


def test_the_products_are_those_of_every_weight():
    """Their number is that of `work` for the decoder, and is counted by hand for the encoder."""
    model = decode.make_model("quickstart")
    encoder, over_memory, step = (sum(np.prod(k.shape) for k in part) for part in products.kernels_of(model))
    assert encoder == 2 * (4 * 128**2 + 2 * 128 * 256)
    assert over_memory == 2 * 2 * 128**2
    assert 2 * step * (3 + 3 * 2 * 29) == decode_profile.work(model, 3, 2)
    rows = tf.function(products.decoding(model, 2, 5))(tf.constant(decode.sources(3, 281)))
    np.testing.assert_array_equal(rows, np.ones((3 * 2, 128)))  # as in every step


def test_products_are_taken_in_turn():
    """Each product goes into the next one; where it has too many columns, only the first ones do."""
    rng = np.random.default_rng(0)
    shapes = ((3, 2), (2, 6), (2, 2), (2, 5), (5, 2))
    x, joint, square, inner, outer = (rng.normal(size=shape).astype("float32") for shape in shapes)
    product = products.in_turn(x, [joint, square, inner, outer])
    np.testing.assert_allclose(product, (((x @ joint)[:, :2] @ square) @ inner) @ outer, rtol=1e-5)


def test_agreement_counts_pieces_and_measures_the_rest():
    translations = [(("a", "b"), -1.0), (("c",), -2.0), (("d",), -3.0)]
    reference = [(("a", "b"), -1.5), (("x",), -2.25), (("d", "d"), -3.125)]
    assert decode_trained.agreement(translations, reference) == {"identical": 1, "of": 3, "largest_difference": 0.25}


def test_decode_curves(tmp_path, capsys, monkeypatch, in_this_process, small_preset):
    in_this_process(decode_curves)
    figures = decode_curves.in_a_process(decode_curves.__file__, small_preset, 2, 2, 3, 2, 0.01)
    assert figures["seconds"] > 0 and "peak_growth" in figures  # it means something in a process of its own only
    monkeypatch.setattr(decode_curves, "in_a_process", lambda *case: {"seconds": 0.5, "peak_growth": 7_000_000})
    decode_curves.main(tmp_path, preset=["quickstart"], length=[3, 5], beam=[2], batch=[2])
    results = json.loads((tmp_path / "decode_curves.json").read_text())
    assert [(r["varies"], r["batch"], r["beam"], r["length"]) for r in results] == [
        ("length", 8, 4, 3),
        ("length", 8, 4, 5),
        ("beam", 8, 2, 30),
        ("batch", 2, 4, 30),
    ]
    # Two layers of keys and values, 128 floats each, at 8·4·5 places of the target and 8·25 of the source.
    assert results[1]["cache_bytes"] == 2 * 2 * 128 * 4 * (8 * 4 * 5 + 8 * 25)
    assert (tmp_path / "decode_curves.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "decode_curves.md").read_text()
    assert "| quickstart | length | 8 | 4 | 5 | 100.00 | 0.7 | 7.0 |" in printed
