"""Loading Marian models: the results of transformers for a recorded folder, further training, and serving."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_contract import reloaded, values
from marian_checks import check_logits, check_search, our_ids
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tiny import compiled, write_pairs

from keras_transformer import Tokenizer, Translator, parallel_corpus
from keras_transformer.ids import END, PAD, START, UNK
from keras_transformer.interop import marian
from keras_transformer.translation.unknown import replace_unknown, source_words

safetensors = pytest.importorskip("safetensors.numpy", reason="pip install -e '.[interop]' for safetensors")

FOLDER = Path(__file__).parents[1] / "support" / "recorded_marian"
SENTENCES = [">>fra<< ka tze horse", "ssa  ka.", "grü UNK", ">>deu<<", "die die die die tzetze ho ka ka rse"]
TARGETS = ["gr ü cht", "ßedi  An!", "", "ka tze hogr", ">>fra<< ho"]


@pytest.fixture(scope="module")
def expected():
    return json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def loaded():
    return marian.load(FOLDER)


@pytest.fixture(scope="module")
def ids(loaded):
    return our_ids(FOLDER, loaded[1])


def test_ids_are_ours(loaded, ids):
    model, tokenizer = loaded
    assert model.vocabulary_size == tokenizer.vocabulary_size == len(ids) + 1 == 106
    assert ids[[104, 1, 0]].tolist() == [PAD, UNK, END]
    assert ids[[2, 3, 102, 103]].tolist() == [4, 5, 104, 105]  # the others in Marian's order
    assert tokenizer.pieces([PAD, UNK, START, END]) == ["<pad>", "<unk>", "<start>", "</s>"]
    assert tokenizer.model == "marian"


def test_options_are_the_folders(loaded):
    config = loaded[0].get_config()
    wanted = {
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "d_model": 24,
        "num_heads": 3,
        "d_ff": 29,
        "dropout": 0.1,
        "activation": "silu",
        "norm": "post",
        "positions": "sinusoidal_halves",
        "use_bias": True,
        "layer_norm_epsilon": 1e-5,
        "scale_embeddings": True,
        "output_bias": True,
        "tie_embeddings": "all",
    }
    assert {name: config[name] for name in wanted} == wanted


def test_logits(loaded, ids, expected):
    target, logits = np.array(expected["decoder_ids"]), np.array(expected["logits"], "float32")
    check_logits(loaded[0], ids, expected["source_ids"], target, logits)


def test_greedy_search(loaded, ids, expected):
    scores = np.array(expected["greedy_scores"])
    check_search(loaded[0], ids, expected["source_ids"], 1, expected["greedy"], scores)


def test_beam_search(loaded, ids, expected):
    check_search(loaded[0], ids, expected["source_ids"], 3, expected["beam"], expected["beam_scores"])


def test_subwords(loaded, ids, expected):
    tokenizer = loaded[1]
    assert [[*row, END] for row in tokenizer.encode(SENTENCES)] == [ids[row].tolist() for row in expected["source_ids"]]
    targets = [ids[row].tolist() for row in expected["target_ids"]]
    assert [[*row, END] for row in tokenizer.encode(TARGETS, side="target")] == targets
    without_unknown = [[i for i in row if i != UNK] for row in targets]  # transformers leaves UNK out
    assert tokenizer.decode(without_unknown) == expected["decoded"]
    assert tokenizer.decode(tokenizer.encode("ßedi  An!", side="target")) == "ßedi ⁇  ⁇"


def test_typed_control_pieces_stay_text(loaded):
    """Here transformers would give the ids of the control pieces."""
    for side in ("source", "target"):
        rows = loaded[1].encode(["</s>", "ka </s> ho", "<pad>", "<unk>", "<start>"], side)
        assert not {PAD, START, END} & {i for row in rows for i in row}


def test_codes_in_front_of_the_text(loaded):
    tokenizer = loaded[1]
    piece = {name: i for i, name in enumerate(tokenizer.pieces(range(106)))}
    [ka] = tokenizer.encode("ka")
    rows = tokenizer.encode([">>fra<< ka", ">>deu<<ka", ">>xyz<< ka", ">>fra<<", ">>a\nb<< ka", ">>fra<< >>deu<<"])
    assert rows[:5] == [[piece[">>fra<<"], ka], [piece[">>deu<<"], ka], [UNK, ka], [piece[">>fra<<"]], [UNK, ka]]
    assert piece[">>deu<<"] not in rows[5]  # only one code
    assert not {piece[">>fra<<"], UNK - 1} & {i for row in tokenizer.encode([" >>fra<< ka", ">>fra ka"]) for i in row}


def test_source_and_target_have_their_own_models(loaded):
    tokenizer = loaded[1]
    assert tokenizer.encode("tze", "source") != tokenizer.encode("tze", "target")
    assert tokenizer.encode("tze") == tokenizer.encode("tze", side="source")
    assert tokenizer.encode("") == tokenizer.encode("", side="target") == []
    both = tokenizer.encode("tze", "source") + tokenizer.encode("gr", "target")
    assert tokenizer.decode(both) == "tze gr"  # pieces of either language
    with pytest.raises(ValueError, match=r"side must be one of \('source', 'target'\), got 'left'"):
        tokenizer.encode("ka", side="left")


def test_the_tokenizer_is_one_file(loaded, tmp_path):
    loaded[1].save(tmp_path / "tokenizer.model")
    again = Tokenizer.load(tmp_path / "tokenizer.model")
    assert (again.model, again.vocabulary_size) == ("marian", 106)
    for side, texts in (("source", SENTENCES), ("target", TARGETS)):
        assert again.encode(texts, side) == loaded[1].encode(texts, side)
    data = (tmp_path / "tokenizer.model").read_bytes()
    content = json.loads(data)
    broken = {
        "the Marian tokenizer file is damaged": data[:-9],
        "is damaged: 'target'": json.dumps({key: content[key] for key in ("model", "pieces", "source")}).encode(),
        "must have more than 4 pieces, all different strings": json.dumps({**content, "pieces": ["a"] * 9}).encode(),
        "source.spm is not a SentencePiece model, or it is damaged": json.dumps({**content, "source": "AAAA"}).encode(),
    }
    for rule, wrong in broken.items():
        (tmp_path / "broken").write_bytes(wrong)
        with pytest.raises(ValueError, match=f"broken: .*{rule}"):
            Tokenizer.load(tmp_path / "broken")


def test_graphs_and_cleared_sessions(loaded):
    tokenizer = loaded[1]
    graph = tf.function(lambda text: (tokenizer.tokenize(text), tokenizer.tokenize(text, side="target")))
    rows = tokenizer.encode(TARGETS, side="target")
    dataset = tf.data.Dataset.from_tensors(TARGETS).map(lambda text: tokenizer.tokenize(text, side="target"))
    for disturb in (lambda: None, lambda: keras.utils.set_random_seed(1), keras.utils.clear_session):
        disturb()
        assert [side.to_list() for side in graph(tf.constant(TARGETS))] == [tokenizer.encode(TARGETS), rows]
        assert next(iter(dataset)).to_list() == rows
    decode = tf.function(tokenizer.detokenize)
    assert decode(tf.ragged.constant(rows, tf.int32)).numpy().tolist() == [t.encode() for t in tokenizer.decode(rows)]


def test_byte_pieces_are_bytes(tmp_path):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    proto = ModelProto.FromString((tmp_path / "target.spm").read_bytes())
    for byte in range(256):
        proto.pieces.add(piece=f"<0x{byte:02X}>", type=ModelProto.SentencePiece.BYTE)
    proto.trainer_spec.byte_fallback = True
    (tmp_path / "target.spm").write_bytes(proto.SerializeToString())
    vocabulary = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))
    vocabulary = {{102: "<0xC3>", 103: "<0xB1>"}.get(i, piece): i for piece, i in vocabulary.items()}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = marian.load(tmp_path)[1]
    assert tokenizer.encode("gr añ", side="target")[-2:] == [104, 105]  # ñ is no piece
    assert tokenizer.decode([[104, 105], [104], [105, 104, 105]]) == ["ñ", "\ufffd", "\ufffdñ"]


def test_translates_strings_and_serves_them(loaded, ids, expected, tmp_path):
    translator = Translator(*loaded, beam_size=3, length_penalty=0.0)
    texts = loaded[1].decode([ids[row].tolist() for row in expected["beam"][::3]])
    assert translator(SENTENCES) == texts
    translator.export(tmp_path / "1", check=False)
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    assert [text.decode() for text in serve(tf.constant(SENTENCES))["translations"].numpy()] == texts
    source, target, _ = translator.attention("tze", "tze")
    assert source == loaded[1].pieces([*loaded[1].encode("tze"), END])
    assert target == loaded[1].pieces([*loaded[1].encode("tze", side="target"), END])


def test_unknown_pieces_become_the_words_they_attend_to(loaded):
    tokenizer = loaded[1]
    sentence = "  ka xxx  rse "
    words = source_words(sentence, tokenizer.encode(sentence), tokenizer)
    assert words == ["ka", "xxx", "xxx", "rse"]  # <unk>, ▁, <unk>, ▁rse
    [piece] = tokenizer.encode("rse")
    alignment = np.eye(5)[[3, 0, 2]]
    assert tokenizer.decode([UNK, piece, UNK]) == "⁇  rse ⁇"
    assert replace_unknown([UNK, piece, UNK], alignment, words, tokenizer) == "rse  rse xxx"


def test_further_training(tmp_path):
    model, tokenizer = marian.load(FOLDER)
    targets = ["gr ü", "cht", "An", "gr", "ßedi"]
    files = write_pairs(tmp_path, list(zip(SENTENCES, targets, strict=True)))
    corpus = parallel_corpus(*files, tokenizer, tokens_per_batch=128)
    [(inputs, labels)] = list(corpus)
    for side, ids, texts in (("source", inputs["source"], SENTENCES), ("target", labels, targets)):
        rows = {tuple(row[row != PAD].tolist()) for row in ids.numpy()} - {()}
        assert rows == {(*row, END) for row in tokenizer.encode(texts, side=side)}
    before = values(model(inputs))
    compiled(model, keras.optimizers.Adam(3e-3))
    losses = model.fit(corpus, epochs=20, verbose=0, shuffle=False).history["loss"]
    assert losses[0] < 20  # START, which is never a label, does not dominate the smoothed loss
    assert losses[-1] < losses[0] - 1
    after = values(model(inputs))
    assert np.abs(after - before).max() > 1e-3
    again = reloaded(model, tmp_path)
    np.testing.assert_array_equal(values(again(inputs)), after)
    translator = Translator(model, tokenizer)
    translator.save(tmp_path / "saved")
    assert Translator.load(tmp_path / "saved")(SENTENCES) == translator(SENTENCES)
