"""Normal forms of Unicode, options of SentencePiece's trainer, models trained elsewhere, and copies."""

import copy
import pickle
import unicodedata
from pathlib import Path

import pytest
import sentencepiece
import tensorflow as tf

from keras_transformer import Tokenizer
from keras_transformer.ids import END, NUM_RESERVED, PAD, START, UNK
from keras_transformer.text.learning import MODELS
from keras_transformer.text.marian_subwords import pack

WORDS = ["café", "naïve", "Größe", "ﬁne", "Ａb", "가나", "ox"]
LINES = [f"{first} {second} {third}" for first in WORDS for second in WORDS for third in WORDS]
SIZES = {"bpe": 300, "unigram": 286, "wordpiece": 50}
TEXTS = [*LINES[::29], "cafe\u0301 ﬁ Ａ", "  a\tb ", "", "Å A\u030a \u212b", "e\u0301\u0323 e\u0323\u0301"]


def train(model, normalization, **options):
    return Tokenizer.train(LINES, SIZES[model], model, normalization, **options)


@pytest.fixture(scope="module")
def tokenizers():
    return {(model, form): train(model, form) for model in MODELS for form in ("none", "nfc", "nfkc")}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_a_normal_form_is_that_of_python(tokenizers, model, form, tmp_path):
    tokenizer, plain = tokenizers[model, form], tokenizers[model, "none"]
    normal = [unicodedata.normalize(form.upper(), text) for text in TEXTS]
    rows = tokenizer.encode(TEXTS)
    assert rows == tokenizer.encode(normal) == tokenizer.encode([unicodedata.normalize("NFD", text) for text in TEXTS])
    known = [number for number, row in enumerate(rows) if UNK not in row]
    assert len(known) > 10
    assert [tokenizer.decode(rows[i]) for i in known] == [normal[i] for i in known]
    in_graph = tf.function(tokenizer.tokenize)(tf.constant(TEXTS))
    assert in_graph.to_list() == rows
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("café")
    assert plain.encode("cafe\u0301") != plain.encode("café"), "it has other pieces, or none"

    assert (tokenizer.normalization, plain.normalization) == (form, "none")
    assert repr(tokenizer) == f"Tokenizer(model='{model}', vocabulary_size={SIZES[model]}, normalization='{form}')"
    tokenizer.save(tmp_path / "file")
    loaded = Tokenizer.load(tmp_path / "file")
    assert (loaded.normalization, loaded.encode(TEXTS)) == (form, rows)
    assert loaded.fingerprint == tokenizer.fingerprint != plain.fingerprint


def test_nfkc_learns_other_pieces_and_none_keeps_each_text(tokenizers):
    assert "ﬁ" in "".join(tokenizers["bpe", "nfc"].pieces(range(SIZES["bpe"])))
    assert "ﬁ" not in "".join(tokenizers["bpe", "nfkc"].pieces(range(SIZES["bpe"])))
    plain = tokenizers["bpe", "none"]
    assert plain.decode(plain.encode(TEXTS)) == TEXTS


def test_a_normal_form_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match=r"normalization='NFC' is unknown\. Known are 'none', 'nfc', 'nfkc'"):
        train("bpe", "NFC")


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_sentences_in_memory_give_the_tokenizer_of_their_file(tokenizers, kind, tmp_path):
    (tmp_path / "a").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    from_file = Tokenizer.train(tmp_path / "a", SIZES["bpe"])
    assert Tokenizer.train(kind(LINES), SIZES["bpe"]).fingerprint == from_file.fingerprint
    half = len(LINES) // 2
    parts = [kind(LINES[:half]), kind(LINES[half:])]
    assert Tokenizer.train(parts, SIZES["bpe"]).fingerprint == from_file.fingerprint


def test_lines_that_cannot_be_seen_are_not_learned():
    blank = ["\u200b", "\ufeff\u00ad", "\u3164", "\x00"] * 20
    assert Tokenizer.train([*LINES, *blank], 50, "wordpiece").pieces(range(50)) == train("wordpiece", "none").pieces(
        range(50)
    )
    with pytest.raises(ValueError, match=r"^files holds no text\. Give sentences with a sentence each\.$"):
        Tokenizer.train(blank, 300)


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_symbols_of_the_user_are_single_pieces(model):
    symbols = [">>fra<<", "<cafe\u0301>", "a,b", "per cent"]
    tokenizer = Tokenizer.train(
        LINES, 320, model, "nfc", user_defined_symbols=symbols, split_digits=True, hard_vocab_limit=False
    )
    assert tokenizer.language_codes == (">>fra<<",)
    for symbol in symbols:
        pieces = tokenizer.pieces(tokenizer.encode(f"ox {symbol}ox"))
        assert unicodedata.normalize("NFC", symbol).replace(" ", "\u2581") in pieces
    assert tokenizer.decode(tokenizer.encode(">>fra<< ox a,b")) == ">>fra<< ox a,b"


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_required_characters_that_no_text_has_get_pieces(model):
    assert not {"þ", "я"} & set("".join(LINES))
    plain = train(model, "none", hard_vocab_limit=False)
    tokenizer = train(model, "none", hard_vocab_limit=False, required_chars="þяe")
    for character in "þя":
        assert character in tokenizer.pieces(range(tokenizer.vocabulary_size))
        assert character not in plain.pieces(range(plain.vocabulary_size))
    assert tokenizer.decode(tokenizer.encode("ox þя")) == "ox þя"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"user_defined_symbls": ["a"]},
            TypeError,
            r"Tokenizer.train has no option 'user_defined_symbls'. Did you mean 'user_defined_symbols'\? The options",
        ),
        ({"pad_id": 5}, ValueError, r"^pad_id is an option of SentencePiece that Tokenizer.train sets itself"),
        ({"user_defined_symbols": "ab"}, TypeError, r"user_defined_symbols must be a list of strings, got one string"),
        ({"control_symbols": ["a", 1]}, TypeError, r"control_symbols\[1\] must be a string, got 1 \(int\)"),
        ({"user_defined_symbols": ["</s>"]}, ValueError, r"user_defined_symbols has '</s>', which is the name of a sp"),
        (
            {"user_defined_symbols": ["a", ""]},
            ValueError,
            r"user_defined_symbols\[1\] is an empty text, which is no piece",
        ),
        (
            {"control_symbols": ["<a>", "o"]},
            ValueError,
            r"control_symbols has 'o', a character of the texts\. A control",
        ),
        ({"byte_fallback": "no"}, TypeError, r"byte_fallback must be a number, or True or False, got 'no' \(str\)"),
        ({"required_chars": ["a"]}, TypeError, r"required_chars must be a string, got \['a'\] \(list\)"),
        ({"character_coverage": 7.0}, ValueError, r"SentencePiece cannot learn .*character_coverage=7.0.*: \w+"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        train("bpe", "none", **options)


def test_wordpiece_takes_no_options_of_sentencepiece():
    with pytest.raises(ValueError, match="model='wordpiece' takes no options of SentencePiece, got split_digits"):
        train("wordpiece", "none", split_digits=True)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("bpe", {}),  # SentencePiece's own ids: <unk> 0, <s> 1, </s> 2, no pad
        ("unigram", {"pad_id": 3, "pad_piece": "[PAD]"}),
        ("unigram", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}),  # as T5 has them
        ("char", {"normalization_rule_name": "nfkc_cf", "bos_piece": "[S]"}),
        ("word", {"byte_fallback": False, "user_defined_symbols": ["<x>"]}),
    ],
)
def test_a_model_trained_elsewhere_cuts_as_sentencepiece_does(model, options, tmp_path):
    with open(tmp_path / "theirs.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(LINES), model_writer=file, vocab_size=30, model_type=model, minloglevel=2,
            hard_vocab_limit=False, **options,
        )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "theirs.model"))
    with pytest.raises(ValueError, match=r"theirs.model: .* required are 0, 1, 2, 3. Read it with Tokenizer.from_sent"):
        Tokenizer.load(tmp_path / "theirs.model")
    tokenizer = Tokenizer.from_sentencepiece(tmp_path / "theirs.model")
    texts = [*LINES[:20], "Größe 中", "<x> ox"]
    rows = tokenizer.encode(texts)
    names = [[theirs.id_to_piece(i) for i in row] for row in theirs.encode(texts)]
    assert [tokenizer.pieces(row) for row in rows] == names
    assert tokenizer.decode(rows) == theirs.decode(theirs.encode(texts))
    assert tokenizer.model == model
    others = [theirs.id_to_piece(i) for i in range(theirs.vocab_size())]
    special = tokenizer.pieces([PAD, UNK, START, END])
    assert tokenizer.pieces(range(NUM_RESERVED, tokenizer.vocabulary_size)) == [p for p in others if p not in special]
    tokenizer.save(tmp_path / "ours.model")
    assert Tokenizer.load(tmp_path / "ours.model").encode(texts) == rows


def test_other_files_are_no_sentencepiece_model(tmp_path):
    (tmp_path / "file").write_text("just text\n")
    with pytest.raises(ValueError, match="file: no SentencePiece model, or a damaged one"):
        Tokenizer.from_sentencepiece(tmp_path / "file")
    with pytest.raises(TypeError, match=r"path must be a path, a str or a pathlib\.Path, got \['a'\]"):
        Tokenizer.from_sentencepiece(["a"])
    with pytest.raises(TypeError, match=r"data must be the bytes of a tokenizer file, got 'a' \(str\). Use"):
        Tokenizer("a")


def marian():
    folder = Path(__file__).parents[1] / "support" / "recorded_marian"
    pieces = ["<pad>", "<unk>", "<start>", "</s>", ">>fra<<", "▁k", "a"]
    return Tokenizer(pack(pieces, *((folder / f"{side}.spm").read_bytes() for side in ("source", "target"))))


@pytest.mark.parametrize("model", [*MODELS, "marian"])
def test_a_tokenizer_can_be_pickled_and_copied(tokenizers, model):
    tokenizer = marian() if model == "marian" else tokenizers[model, "nfc" if model == "bpe" else "none"]
    rows = tokenizer.encode(TEXTS)
    for copied in (pickle.loads(pickle.dumps(tokenizer)), copy.copy(tokenizer), copy.deepcopy(tokenizer)):
        assert copied is not tokenizer
        assert copied.fingerprint == tokenizer.fingerprint
        assert copied.encode(TEXTS) == rows
        assert copied.decode(rows) == tokenizer.decode(rows)


def test_the_pieces_that_stand_for_missing_ones(tokenizers):
    bpe, wordpiece = tokenizers["bpe", "none"], tokenizers["wordpiece", "none"]
    assert bpe.pieces(bpe.fallback_ids) == ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    assert wordpiece.fallback_ids == marian().fallback_ids == (UNK,)
    assert set(bpe.encode("中")) & set(bpe.fallback_ids)
