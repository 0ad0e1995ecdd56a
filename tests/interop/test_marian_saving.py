"""Saving Marian models: what the folder holds, that it loads with the same weights and ids, and what is refused."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from layer_contract import values

from keras_transformer import (
    Decoder,
    Encoder,
    EncoderLayer,
    LabelSmoothedCrossEntropy,
    Tokenizer,
    Transformer,
    Translator,
)
from keras_transformer.ids import END, PAD, START, UNK
from keras_transformer.interop import marian

safetensors = pytest.importorskip("safetensors.numpy", reason="pip install -e '.[interop]' for safetensors")

FOLDER = Path(__file__).parents[1] / "support" / "recorded_marian"
OWN = {"positions": "sinusoidal_halves", "layer_norm_epsilon": 1e-5, "tie_embeddings": "all"}
NAMES = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "source.spm",
    "target.spm",
    "tokenizer_config.json",
    "vocab.json",
]
LINES = ["3 1 4", "", " 9  8\t2 ", "grün 中 🐎", "</s> <pad>", ">>fra<< ka tze", "A" * 50]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def tuned():
    """The recorded model after a step of training, and its tokenizer."""
    model, tokenizer = marian.load(FOLDER)
    model.compile(keras.optimizers.Adam(1e-2), LabelSmoothedCrossEntropy(0.1))
    batch = tiny.random_batch(np.random.default_rng(1), [7, 6, 2], [9, 8, 1], tokenizer.vocabulary_size)
    model.train_on_batch(*batch)
    return model, tokenizer


def check_equal(model, again, size):
    """Equal weights, and equal logits bit for bit."""
    matrices = {weight.path: values(weight) for weight in model.weights}
    for weight in again.weights:
        np.testing.assert_array_equal(values(weight), matrices.get(weight.path, np.zeros(weight.shape)), weight.path)
    inputs, _ = tiny.random_batch(np.random.default_rng(2), [5, 3, 1], [4, 2, 6], size)
    np.testing.assert_array_equal(values(again(inputs)), values(model(inputs)))


@pytest.fixture(scope="module")
def own_tokenizer():
    return Tokenizer.train([line for pair in tiny.digit_pairs(60) for line in pair], 281)


def test_a_loaded_model_is_saved_as_it_was(tmp_path):
    marian.save(*marian.load(FOLDER), tmp_path / "saved")
    saved = tmp_path / "saved"
    assert sorted(path.name for path in saved.iterdir()) == NAMES
    for name in ("source.spm", "target.spm"):
        assert (saved / name).read_bytes() == (FOLDER / name).read_bytes()
    assert read(saved / "vocab.json") == read(FOLDER / "vocab.json")
    theirs, ours = read(FOLDER / "config.json"), read(saved / "config.json")
    theirs |= {"max_position_embeddings": 1024}
    of_transformers = {"dtype", "init_std", "is_decoder", "transformers_version", "use_cache"}
    assert {name: ours[name] for name in theirs.keys() - of_transformers} == {
        name: value for name, value in theirs.items() if name not in of_transformers
    }
    search = read(saved / "generation_config.json")
    special = {"decoder_start_token_id": 104, "pad_token_id": 104, "eos_token_id": 0, "bad_words_ids": [[104]]}
    assert {name: search[name] for name in special} == special
    expected, tensors = (safetensors.load_file(folder / "model.safetensors") for folder in (FOLDER, saved))
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name])
    model, tokenizer = marian.load(saved)
    check_equal(marian.load(FOLDER)[0], model, 105)
    assert tokenizer.fingerprint == marian.load(FOLDER)[1].fingerprint


def test_a_model_that_was_trained_further(tmp_path):
    """Training makes START and PAD different, so START is a piece of the folder."""
    model, tokenizer = tuned()
    matrix = values(model.output_map.embeddings)
    assert np.abs(matrix[START] - matrix[PAD]).max() > 1e-3
    marian.save(model, tokenizer, tmp_path / "saved")
    vocabulary = read(tmp_path / "saved" / "vocab.json")
    assert vocabulary == {**read(FOLDER / "vocab.json"), "<start>": 105}
    config, search = (read(tmp_path / "saved" / name) for name in ("config.json", "generation_config.json"))
    assert (config["decoder_start_token_id"], config["pad_token_id"], config["vocab_size"]) == (105, 104, 106)
    assert (search["decoder_start_token_id"], search["bad_words_ids"]) == (105, [[104], [105]])
    again, its_tokenizer = marian.load(tmp_path / "saved")
    check_equal(model, again, 105)
    assert its_tokenizer.fingerprint == tokenizer.fingerprint
    marian.save(again, its_tokenizer, tmp_path / "again")
    for name in NAMES:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_lora_is_added_to_its_kernels(tmp_path):
    model, tokenizer = marian.load(FOLDER)
    projection = model.decoder.layers[1].memory_attention.query_projection
    projection.enable_lora(2, 3.0)
    for part in (projection.lora_kernel_a, projection.lora_kernel_b):
        part.assign(np.random.default_rng(1).normal(size=part.shape))
    marian.save(model, tokenizer, tmp_path / "saved")
    again = marian.load(tmp_path / "saved")[0]
    kernel = again.decoder.layers[1].memory_attention.query_projection.kernel
    np.testing.assert_array_equal(values(kernel), values(projection.kernel))
    inputs, _ = tiny.random_batch(np.random.default_rng(2), [5, 3], [4, 2], 105)
    np.testing.assert_allclose(values(again(inputs)), values(model(inputs)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "swish", "num_encoder_layers": 2, "scale_embeddings": False},
        {"use_bias": True, "output_bias": True, "num_heads": 4, "d_k": 4, "d_v": 4, "dtype": "mixed_bfloat16"},
    ],
)
def test_own_models_keep_their_ids(tmp_path, kind, changes):
    tokenizer = Tokenizer.train([line for pair in tiny.digit_pairs(60) for line in pair], 279, kind)
    model = tiny.make_random(vocabulary_size=279, **OWN, **changes)
    marian.save(model, tokenizer, tmp_path / "saved")
    assert read(tmp_path / "saved" / "vocab.json") == {piece: i for i, piece in enumerate(tokenizer.pieces(range(279)))}
    for name in ("source.spm", "target.spm"):
        tokenizer.save(tmp_path / name)
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / name).read_bytes()
    again, its_tokenizer = marian.load(tmp_path / "saved")
    config = read(tmp_path / "saved" / "config.json")
    assert config["activation_function"] == {"swish": "swish"}.get(changes.get("activation"), "relu")
    ids = [config[f"{name}_token_id"] for name in ("pad", "decoder_start", "eos")]
    assert ids == [PAD, START, END]
    twin = model if "dtype" not in changes else tiny.make_model(vocabulary_size=279, **OWN, **changes | {"dtype": None})
    twin.set_weights(model.get_weights())
    check_equal(twin, again, 279)
    lines = [line for line in LINES if not line.startswith(">>")]  # Marian takes ">>fra<<" as one piece
    for side in ("source", "target"):
        assert its_tokenizer.encode(lines, side) == tokenizer.encode(lines)
    assert its_tokenizer.pieces(range(279)) == tokenizer.pieces(range(279))


def test_a_tokenizer_from_elsewhere_gets_the_names_of_marian(tmp_path):
    import sentencepiece

    with open(tmp_path / "theirs.model", "wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the cat sat", "the dog sat"]), model_writer=stream, vocab_size=16,
            unk_piece="[UNK]", eos_piece="[END]", pad_id=3, pad_piece="[PAD]", minloglevel=2,
        )  # fmt: skip
    tokenizer = Tokenizer.from_sentencepiece(tmp_path / "theirs.model")
    size = tokenizer.vocabulary_size
    marian.save(tiny.make_model(vocabulary_size=size, **OWN), tokenizer, tmp_path / "saved")
    vocabulary = read(tmp_path / "saved" / "vocab.json")
    assert [vocabulary[name] for name in ("<pad>", "<unk>", "<s>", "</s>")] == [PAD, UNK, START, END]
    its_tokenizer = marian.load(tmp_path / "saved")[1]
    for text in ("the cat", "Ⓣhe  x", "[UNK] dog"):
        assert its_tokenizer.encode(text) == tokenizer.encode(text)
    assert its_tokenizer.decode(tokenizer.encode("the cat")) == "the cat"


def refused(words, model, tokenizer, folder, error=ValueError, **options):
    with pytest.raises(error, match=words) as caught:
        marian.save(model, tokenizer, folder, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"positions": "sinusoidal"}, "positions='sinusoidal', Marian has 'sinusoidal_halves'."),
        ({"positions": "learned", "max_length": 9}, "positions='learned', Marian has 'sinusoidal_halves'."),
        ({"norm": "pre"}, "norm='pre', Marian has 'post'."),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon=1e-06, Marian has 1e-05."),
        ({"tie_embeddings": "none"}, "tie_embeddings='none', Marian has 'all'."),
        ({"tie_embeddings": "target"}, "tie_embeddings='target', Marian has 'all'."),
        ({"activation": "tanh"}, "activation='tanh', Marian has one of 'gelu', 'relu', 'silu'."),
        ({"d_k": 5}, "d_k=5, Marian has d_model / num_heads = 16 / 2."),
        ({"d_v": 3}, "d_v=3, Marian has d_model / num_heads = 16 / 2."),
        (
            {"norm": "pre", "positions": "sinusoidal"},
            "positions='sinusoidal', Marian has 'sinusoidal_halves'; norm='pre', Marian has 'post'.",
        ),
    ],
)
def test_architectures_that_marian_lacks(own_tokenizer, tmp_path, changes, words):
    model = tiny.make_model(vocabulary_size=281, **{**OWN, **changes})
    words = f"^a Marian model cannot express this one: .*{words} Train a model with Marian's values\\.$"
    refused(words, model, own_tokenizer, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "wordpiece"}, "the tokenizer's model='wordpiece', Marian has SentencePiece: 'bpe' or 'unigram'"),
        ({"normalization": "nfc"}, "the tokenizer's normalization='nfc', Marian has 'none'"),
        (
            {"user_defined_symbols": [">>fra<<"]},
            "the tokenizer's piece '>>fra<<', Marian cuts codes off before SentencePiece sees the text",
        ),
    ],
)
def test_tokenizers_that_marian_lacks(tmp_path, options, words):
    size = 25 if "model" in options else 281
    tokenizer = Tokenizer.train([line for pair in tiny.digit_pairs(60) for line in pair], size, **options)
    model = tiny.make_model(vocabulary_size=size, **OWN)
    refused(f"a Marian model cannot express this one: {words}", model, tokenizer, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


class CappedEncoderLayer(EncoderLayer):
    def call(self, x, mask=None, training=None):
        return keras.ops.minimum(super().call(x, mask=mask, training=training), 1.0)


class CappedEncoder(Encoder):
    layer_class = CappedEncoderLayer


class Capped(Transformer):
    encoder_class = CappedEncoder


class Tanh(Transformer):
    def call(self, inputs, training=None):
        return keras.ops.tanh(super().call(inputs, training=training))


def test_a_window_has_no_place(own_tokenizer, tmp_path):
    model = tiny.make_model(vocabulary_size=281, window=5, **OWN)
    rule = "^window=5 has no place in a Marian model, where self-attention sees all positions.$"
    refused(rule, model, own_tokenizer, tmp_path / "saved")


def test_own_methods_have_no_place(own_tokenizer, tmp_path):
    sizes = tiny.make_model(vocabulary_size=281, **OWN).get_config()
    for kind, words in (
        (Capped, r"the own call of CappedEncoderLayer \(layer_0\) has no place in a Marian model"),
        (Tanh, r"the own call of Tanh \(transformer\) has no place in a Marian model"),
    ):
        refused(words, kind.from_config(sizes), own_tokenizer, tmp_path / "saved")


def test_wrong_arguments_are_named(own_tokenizer, tmp_path):
    model, folder = tiny.make_model(vocabulary_size=281, **OWN), tmp_path / "saved"
    order = r"The order is save\(model, tokenizer, folder\)"
    refused(f"model must be a Transformer, got Tokenizer.*{order}", own_tokenizer, model, folder, TypeError)
    translator = Translator(model, own_tokenizer)
    refused(
        f"model must be a Transformer.*Give translator.model. {order}", translator, own_tokenizer, folder, TypeError
    )
    refused(f"tokenizer must be a Tokenizer, got 'a.model'.*{order}", model, "a.model", folder, TypeError)
    other = tiny.make_model(vocabulary_size=29, **OWN)
    refused("tokenizer has 281 pieces, the model's vocabulary_size is 29: they were", other, own_tokenizer, folder)
    kernel = model.encoder.layers[0].feed_forward.inner.kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    path = "encoder/layer_0/feed_forward/inner/kernel"
    refused(f"the model's weight '{path}' holds numbers that are not finite", model, own_tokenizer, folder)
    assert list(tmp_path.iterdir()) == []


class LongerDecoder(Decoder):
    """It has a weight more, and another activation."""

    def __init__(self, num_layers, activation=None, **options):
        super().__init__(num_layers, activation="silu", **options)

    def build(self, x_shape, memory_shape):
        self.extra = self.add_weight(name="extra", shape=(3,))
        super().build(x_shape, memory_shape)


def test_what_an_own_decoder_changes_is_named(own_tokenizer, tmp_path):
    class Longer(Transformer):
        decoder_class = LongerDecoder

    sizes = tiny.make_model(vocabulary_size=281, **OWN).get_config()
    words = "activation='silu' in the decoder and 'relu' in the encoder, Marian has one value"
    refused(words, Longer.from_config(sizes), own_tokenizer, tmp_path / "saved")
    model = Longer.from_config({**sizes, "activation": "silu"})
    refused("the model's weight 'decoder/extra' has no place in a Marian", model, own_tokenizer, tmp_path / "saved")


def test_a_folder_is_replaced_only_when_nothing_is_lost(own_tokenizer, tmp_path, monkeypatch):
    model, folder = tiny.make_model(vocabulary_size=281, **OWN), tmp_path / "saved"
    folder.mkdir()  # an empty folder is as good as none
    marian.save(model, own_tokenizer, folder)
    (folder / "model.safetensors").write_bytes(b"precious")
    refused("saved exists already", model, own_tokenizer, folder, FileExistsError)
    assert (folder / "model.safetensors").read_bytes() == b"precious"
    marian.save(model, own_tokenizer, folder, overwrite=True)
    check_equal(model, marian.load(folder)[0], 281)
    (folder / "README.md").write_text("precious")
    refused("saved also holds README.md", model, own_tokenizer, folder, FileExistsError, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*NAMES, "README.md"])
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    words = r"needs the package safetensors: pip install 'keras-transformer-translation\[interop\]'"
    refused(words, model, own_tokenizer, tmp_path / "new", ImportError)


def test_the_sentencepiece_models_of_a_tokenizer(own_tokenizer, tmp_path):
    own_tokenizer.save(tmp_path / "tokenizer.model")
    assert own_tokenizer.sentencepiece_models == ((tmp_path / "tokenizer.model").read_bytes(),) * 2
    of_sides = tuple((FOLDER / name).read_bytes() for name in ("source.spm", "target.spm"))
    assert marian.load(FOLDER)[1].sentencepiece_models == of_sides
    assert tiny.make_tokenizer(tmp_path).sentencepiece_models == (None, None)


def test_two_vocabularies_are_refused(tmp_path):
    pair = tiny.make_pair(tmp_path / "pair")
    model = tiny.make_model(**tiny.PAIR_SIZES, **{**OWN, "tie_embeddings": "none"})
    with pytest.raises(ValueError, match=r"TokenizerPair, Marian has one vocabulary for both sides\. Train"):
        marian.save(model, pair, tmp_path / "marian")
    assert not (tmp_path / "marian").exists()
