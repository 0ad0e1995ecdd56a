"""Figures 3 to 5 from a model, and the paper's two arguments, each checked in another way."""

import itertools
import json

import numpy as np
import paper_arguments
import paper_figures
import pytest
import tiny
from matplotlib.image import imread

from keras_transformer import PositionalEncoding, Translator

PICTURES = ["figure_3", "figure_4_head", "figure_4_word", "figure_5", "learning_rates"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    model = tiny.make_opinionated()
    Translator(model, tiny.make_tokenizer(folder / "learnt")).save(folder / "model")
    return folder


SENTENCES = {"far": "3 1 4 1", "word": "4", "pronoun_sentence": "9 8 7", "pronoun": "8"}


def test_all_figures_are_drawn_from_a_model(folder, capsys):
    paper_figures.main(folder / "model", folder / "new" / "pictures", layer=None, **SENTENCES)
    files = sorted(path.name for path in (folder / "new" / "pictures").iterdir())
    assert files == sorted(f"{name}{ending}" for name in PICTURES for ending in (".png", ".svg"))
    assert all(imread(folder / "new" / "pictures" / f"{name}.png").std() > 0.02 for name in PICTURES)
    assert "figure 4: the sharpest heads of '8' are " in capsys.readouterr().out


def test_the_layer_is_the_last_but_one_and_the_words_are_whole(folder):
    translator = Translator.load(folder / "model")
    weights, words = paper_figures.encoder_attention(translator, "3 14", None)
    assert words == ["3", "14", "[END]"]
    layers = translator.attention("3 14", "")[2]["encoder"]  # of the pieces ▁3 ▁1 ##4 [END]
    layer = layers[max(0, len(layers) - 2)]
    np.testing.assert_allclose(weights[:, 0, 0], layer[:, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(weights[:, 2, 1], layer[:, 3, 1] + layer[:, 3, 2], rtol=1e-6)
    with pytest.raises(ValueError, match=rf"^layer must be from 1 to {len(layers)}, the encoder's layers, got 9\.$"):
        paper_figures.encoder_attention(translator, "3", 9)


def test_a_word_that_is_not_there_is_named_before_anything_is_drawn(folder):
    with pytest.raises(
        ValueError, match=r"^pronoun='its' is no word of its sentence\. The words are: 9 8 7 \[END\]\.$"
    ):
        paper_figures.main(folder / "model", folder / "none", layer=None, **SENTENCES | {"pronoun": "its"})
    assert not (folder / "none").exists()


def test_learning_rates_are_the_formula():
    rates = paper_figures.learning_rates([], steps=5000)
    for d_model, values in zip((512, 1024), rates.values(), strict=True):
        for step in (1, 2000, 4000, 5000):
            expected = d_model**-0.5 * min(step**-0.5, step * 4000**-1.5)
            assert values[step - 1] == pytest.approx(expected, rel=1e-5)


def test_the_variance_of_dot_products_is_their_width():
    """Measured for normal numbers; exactly, over all vectors of signs, which have mean 0 and variance 1 too."""
    for d_k in (1, 3, 16):
        products = paper_arguments.dot_products(d_k, 20_000)
        assert abs(products.var() - d_k) < 4 * paper_arguments.variance_error(d_k, 20_000)
        assert abs(products.mean()) < 4 * (d_k / 20_000) ** 0.5
    for d_k in (1, 2, 3):
        signs = np.array(list(itertools.product([-1, 1], repeat=d_k)))
        assert (signs @ signs.T).mean() == 0 and (signs @ signs.T).var() == d_k
    repeated = [paper_arguments.dot_products(3, 500, seed).var() for seed in range(200)]
    assert np.std(repeated) == pytest.approx(paper_arguments.variance_error(3, 500), rel=0.2)


def test_the_map_of_positions_is_the_one_that_least_squares_finds():
    encoded = paper_arguments.encodings(400, 16)
    np.testing.assert_array_equal(encoded, PositionalEncoding()(np.zeros((1, 400, 16), "float32"))[0])
    for k in (1, 7):
        matrix = paper_arguments.shift_matrix(k, 16)
        for pair in (slice(start, start + 2) for start in range(0, 16, 2)):
            fitted = np.linalg.lstsq(encoded[:-k, pair], encoded[k:, pair], rcond=None)[0].T
            np.testing.assert_allclose(fitted, matrix[pair, pair], atol=1e-4)
        np.testing.assert_allclose(np.linalg.matrix_power(paper_arguments.shift_matrix(1, 16), k), matrix, atol=1e-12)
        np.testing.assert_allclose(matrix @ paper_arguments.shift_matrix(-k, 16), np.eye(16), atol=1e-12)
        assert paper_arguments.shift_error(k, encoded) < 1e-4
    assert paper_arguments.shift_error(2, np.roll(encoded, 1, axis=1)) > 0.1
    with pytest.raises(ValueError, match=r"^d_model must be even, so that each sine has its cosine, got 7\.$"):
        paper_arguments.shift_matrix(1, 7)


def test_both_arguments_are_written(tmp_path):
    paper_arguments.main(tmp_path / "results", samples=300, positions=60, d_model=16)
    report = json.loads((tmp_path / "results" / "paper_arguments.json").read_text())
    assert [each["k"] for each in report["shifts"]] == [1, 2, 5, 10, 50]
    assert [each["d_k"] for each in report["variances"]] == list(paper_arguments.WIDTHS)
    assert "| 1024 |" in (tmp_path / "results" / "paper_arguments.md").read_text()
    assert imread(tmp_path / "results" / "variance.png").std() > 0.05
