"""Loading Marian models, compared with transformers on random weights and SentencePiece models trained here."""

import random

import numpy as np
import pytest
from layer_contract import values
from marian_checks import check_logits, check_search, our_ids

from keras_transformer.ids import END, PAD, START, UNK
from keras_transformer.interop import marian

make_marian = pytest.importorskip("make_marian", reason="pip install -e '.[parity]' for torch and transformers")
torch = make_marian.torch

VARIANTS = {
    "swish": {"seed": 2},
    "relu": {"seed": 3, "activation_function": "relu", "encoder_layers": 1, "decoder_layers": 1},
    "gelu": {"seed": 4, "activation_function": "gelu", "encoder_ffn_dim": 31, "decoder_ffn_dim": 37},
    "unscaled": {"seed": 6, "scale_embedding": False, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
}


@pytest.fixture(scope="module", params=VARIANTS)
def case(request, tmp_path_factory):
    """A folder, the model and tokenizer that transformers reads from it, and those that we read."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, make_marian.write_folder(folder, **VARIANTS[request.param]), marian.load(folder)


def batch_of(tokenizer, sentences):
    return tokenizer(sentences, padding=True, return_tensors="pt")


@pytest.mark.parametrize("length", [1, 2, 7, 23])
def test_logits(case, length):
    """At several target lengths. The sources, of 2 to 13 ids, are in one padded batch."""
    folder, (model, tokenizer), (ours, our_tokenizer) = case
    batch = batch_of(tokenizer, make_marian.SENTENCES)
    assert (batch["attention_mask"] == 0).any()
    size = model.config.vocab_size
    target = np.random.default_rng(length).integers(0, size - 1, (len(make_marian.SENTENCES), length))
    target[:, 0] = size - 1
    with torch.no_grad():
        logits = model(**batch, decoder_input_ids=torch.tensor(target)).logits.numpy()
    source = tokenizer(make_marian.SENTENCES)["input_ids"]
    check_logits(ours, our_ids(folder, our_tokenizer), source, target, logits)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_search(case, num_beams):
    folder, (model, tokenizer), (ours, our_tokenizer) = case
    expected = make_marian.translations(model, batch_of(tokenizer, make_marian.SENTENCES), num_beams)
    source = tokenizer(make_marian.SENTENCES)["input_ids"]
    check_search(ours, our_ids(folder, our_tokenizer), source, num_beams, *expected, least=0.6)


UNSEEN = ["中", "ka 中文 tze", "🐎", "ä\u0308 ﬁ ㍿", "\tka\t ho ", "é", "A" * 500]
EDGES = ["", " ", ">>fra<<", ">>fra<< ", ">>deu<<ka", ">>xyz<< ka", "ka >>fra<<", ">>fra<< >>deu<< ho", ">>ka", "<<"]


def texts():
    """Random mixtures of both languages' syllables, spaces, codes and characters of neither."""
    draw = random.Random(5)
    parts = [*" ".join(make_marian.SYLLABLES.values()).split(), " ", " ", " ", ".", "ß", "中", "x", "<", ">", "1"]
    mixed = ["".join(draw.choices(parts, k=draw.randint(1, 20))) for _ in range(200)]
    return [*mixed, *(f">>fra<< {text}" for text in mixed[:50]), *UNSEEN, *EDGES]


@pytest.fixture(scope="module", params=["nmt_nfkc", "identity", "bytes"])
def subwords(request, tmp_path_factory):
    """A folder whose SentencePiece models normalize or not, and the two tokenizers."""
    folder = tmp_path_factory.mktemp(request.param)
    options = {"byte_fallback": True, "size": 330} if request.param == "bytes" else {}
    if request.param == "identity":
        options = {"normalization_rule_name": "identity", "model_type": "bpe"}
    size = make_marian.write_tokenizer(folder, **options)
    changes = {"d_model": 6, "encoder_layers": 1, "decoder_layers": 1}
    make_marian.make_model(size, **changes).save_pretrained(folder)
    return folder, make_marian.read_tokenizer(folder), marian.load(folder)[1]


@pytest.mark.parametrize("side", ["source", "target"])
def test_ids_of_text(subwords, side):
    folder, theirs, ours = subwords
    ids = our_ids(folder, ours)
    lines = texts()
    rows = (theirs(lines) if side == "source" else theirs(text_target=lines))["input_ids"]
    assert [[*row, END] for row in ours.encode(lines, side=side)] == [ids[row].tolist() for row in rows]
    assert any(UNK in ids[row] for row in rows)


def test_text_of_ids(subwords):
    """Any ids, also those of pieces that the target's model lacks. transformers leaves UNK out, and we write it."""
    folder, theirs, ours = subwords
    ids = our_ids(folder, ours)
    draw = np.random.default_rng(5)
    rows = [draw.integers(2, len(ids) - 1, draw.integers(0, 12)).tolist() for _ in range(200)]
    rows = [[i for i in row if not theirs.convert_ids_to_tokens(i).startswith("<0x")] for row in rows]
    rows += theirs(text_target=texts())["input_ids"]
    expected = [theirs.decode([i for i in row if i != 1], skip_special_tokens=True) for row in rows]
    assert [ours.decode([i for i in ids[row].tolist() if i != UNK]) for row in rows] == expected


def test_typed_control_pieces_are_text_only_here(subwords):
    _, theirs, ours = subwords
    for text, special in (("ka </s> ho", 0), ("ka <pad>", theirs.pad_token_id)):
        assert special in theirs(text)["input_ids"][:-1]
        row = ours.encode(text)
        assert not {PAD, START, END} & set(row)
        assert len(row) > len(ours.encode("ka"))


def test_pytorch_files(case, tmp_path):
    """pytorch_model.bin, which most OPUS-MT folders have. It holds the tied matrix four times, and positions."""
    folder, (model, _), (ours, _) = case
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert {"lm_head.weight", "model.encoder.embed_positions.weight"} <= set(model.state_dict())
    again = marian.load(tmp_path)[0]
    for weight, other in zip(again.weights, ours.weights, strict=True):
        np.testing.assert_array_equal(values(weight), values(other))
    (tmp_path / "pytorch_model.bin").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin cannot be read as PyTorch weights"):
        marian.load(tmp_path)
