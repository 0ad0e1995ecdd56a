"""Tokenizer: exact round trips, the same ids in Python, in graphs and in an export, errors that help."""

import gzip
import itertools
import random
import re
import shutil
import subprocess
import sys

import keras
import pytest
import sentencepiece
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_transformer.ids import END, PAD, START, UNK
from keras_transformer.text import Tokenizer, learning
from keras_transformer.text.learning import MODELS

SIZES = {"bpe": 420, "unigram": 420, "wordpiece": 160}
CONTROL_TEXT = ["[PAD]", "[UNK]", "[START] [END]", "</s>", "<s>", "<pad>", "<unk>", "<0x41>", "a<pad>b </s>", "##a"]
SEEN = ["", " ", "   ", "a", " a", "a ", "  a  b  ", "Grüße an die Katze!", "Katze" * 10_000, *CONTROL_TEXT]
UNSEEN = ["\ta\t\tb", "x\ny\r\n", "\0", "a\0b", "🐎🐎", "中文字", "e\u0301", "\u200b\ufeff", "a\xa0b\u2028", "▅⁇"]


def corpus():
    """600 lines of random words with the letters of SEEN. They are the same in each run."""
    draw = random.Random(7)
    syllables = ["ka", "tze", "ho", "rse", "grü", "ße", "An", "di", "ght", "sch", "U", "N", "K", "P", "D", "S", "T"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(150)]
    lines = [" ".join(draw.choices(words, k=draw.randint(2, 9))) for _ in range(600)]
    return [*lines, "".join(sorted(set("".join(SEEN)) - {" "})) + "AERTGKPadmnkes"]


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "train.txt"
    path.write_text("\n".join(corpus()) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tokenizers(corpus_file):
    return {model: Tokenizer.train(corpus_file, SIZES[model], model) for model in MODELS}


@pytest.fixture(params=MODELS)
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def test_properties(tokenizers):
    for model, tokenizer in tokenizers.items():
        assert tokenizer.model == model
        assert tokenizer.vocabulary_size == SIZES[model]
        assert repr(tokenizer) == f"Tokenizer(model='{model}', vocabulary_size={SIZES[model]})"
        assert len(set(tokenizer.pieces(range(SIZES[model])))) == SIZES[model]


def test_text_comes_back_exactly(tokenizer):
    texts = SEEN + corpus()
    assert tokenizer.decode(tokenizer.encode(texts)) == texts
    assert [tokenizer.decode(tokenizer.encode(text)) for text in SEEN] == SEEN
    assert tokenizer.encode("") == tokenizer.encode([]) == []


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_unseen_characters_come_back_exactly(tokenizers, model):
    rows = tokenizers[model].encode(UNSEEN)
    assert tokenizers[model].decode(rows) == UNSEEN
    assert UNK not in itertools.chain(*rows)


def test_wordpiece_marks_a_word_with_an_unseen_character(tokenizers):
    tokenizer = tokenizers["wordpiece"]
    ids = tokenizer.encode("die ka🐎 Katze")
    assert ids.count(UNK) == 1
    assert tokenizer.decode(ids) == "die ⁇ Katze"
    assert tokenizer.decode(tokenizer.encode("🐎 die")) == "⁇ die"


def test_typed_control_pieces_stay_text(tokenizer, tmp_path):
    assert not {PAD, UNK, START, END} & set(itertools.chain(*tokenizer.encode(CONTROL_TEXT)))
    frequent = tmp_path / "frequent.txt"  # also if the files are full of them
    frequent.write_text("\n".join(corpus() + CONTROL_TEXT * 200), encoding="utf-8")
    learned = Tokenizer.train(frequent, tokenizer.vocabulary_size, tokenizer.model)
    rows = learned.encode(CONTROL_TEXT)
    assert not {PAD, UNK, START, END} & set(itertools.chain(*rows))
    assert learned.decode(rows) == CONTROL_TEXT


def test_the_space_sign_is_the_one_exception(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a▁b ▁")) == "a b  "


@pytest.mark.parametrize("model", ["bpe", "unigram"])
def test_same_ids_as_sentencepiece_itself(tokenizers, model, tmp_path):
    tokenizers[model].save(tmp_path / "spm.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spm.model"))
    texts = SEEN + UNSEEN + corpus()
    rows = tokenizers[model].encode(texts)
    assert rows == processor.encode(texts)
    assert tokenizers[model].decode(rows) == processor.decode(rows)
    assert tokenizers[model].pieces(rows[7]) == [processor.id_to_piece(i) for i in rows[7]]


def test_wordpiece_is_greedy_longest_match(tokenizers):
    tokenizer = tokenizers["wordpiece"]
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    ids_of = {name: i for i, name in enumerate(names)}
    for line in corpus():
        expected = []
        for word in line.split(" "):
            word, prefix = "▁" + word, ""
            while word:
                end = next(end for end in range(len(word), 0, -1) if prefix + word[:end] in ids_of)
                expected.append(ids_of[prefix + word[:end]])
                word, prefix = word[end:], "##"
        assert tokenizer.encode(line) == expected


def test_wordpiece_by_hand(tmp_path):
    pieces = "[PAD] [UNK] [START] [END] ▁ ▁un ##a ##able ##b #### ##[PAD]".split()
    (tmp_path / "vocabulary.txt").write_bytes("\n".join([*pieces, ""]).encode())
    tokenizer = Tokenizer.load(tmp_path / "vocabulary.txt")
    assert tokenizer.encode("unable  unab") == [5, 7, 4, 5, 6, 8]
    assert tokenizer.encode(["a##", "[PAD]", "", " ", "c"]) == [[4, 6, 9], [4, 10], [], [4, 4], [1]]
    assert tokenizer.decode([[2, 5, 7, 3, 0, 0], [4, 10], [7], [4, 4, 6]]) == ["unable", "[PAD]", "able", " a"]
    assert tokenizer.pieces([5, 7, 3]) == ["▁un", "##able", "[END]"]


def test_decode_leaves_out_control_ids_and_takes_arrays(tokenizer):
    row = tokenizer.encode("die  Katze")
    framed = [START, *row[:2], PAD, *row[2:], END, PAD, PAD]
    assert tokenizer.decode(framed) == "die  Katze"
    assert tokenizer.decode([framed, []]) == ["die  Katze", ""]
    assert tokenizer.decode([]) == ""
    for kind in (tf.constant, lambda ids: tf.constant(ids).numpy(), tuple):
        assert tokenizer.decode(kind(framed)) == "die  Katze"
        assert tokenizer.decode([kind(framed)]) == tokenizer.decode(kind([framed])) == ["die  Katze"]
        assert tokenizer.pieces(kind(row)) == tokenizer.pieces(row)
    assert tokenizer.decode(tf.ragged.constant([framed, []], tf.int32)) == ["die  Katze", ""]


def test_graph_agrees_with_python(tokenizer):
    texts = SEEN + UNSEEN
    tokenize = tf.function(tokenizer.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    ids = tokenize(tf.constant(texts))
    rows = tokenizer.encode(texts)
    assert ids.dtype == tf.int32
    assert ids.to_list() == rows
    assert tokenize(tf.constant([], tf.string)).to_list() == []

    expected = [text.encode() for text in tokenizer.decode(rows)]
    detokenize = tf.function(tokenizer.detokenize)
    framed = tf.concat([tf.fill([len(texts), 1], START), ids, tf.fill([len(texts), 1], END)], axis=1)
    narrow = framed.with_row_splits_dtype(tf.int32)
    for form in (ids, framed, narrow, framed.to_tensor(PAD), tf.cast(framed.to_tensor(PAD), tf.int64)):
        assert detokenize(form).numpy().tolist() == expected
    assert detokenize(tf.zeros([0, 4], tf.int32)).shape == [0]


def test_tokenize_in_a_dataset(tokenizer):
    batches = tf.data.Dataset.from_tensor_slices(SEEN).batch(5).map(tokenizer.tokenize)
    assert [row for batch in batches for row in batch.to_list()] == tokenizer.encode(SEEN)


def test_seeds_and_cleared_sessions_leave_it_working(tokenizer):
    batch = tf.constant(SEEN)
    round_trip = tf.function(lambda strings: tokenizer.detokenize(tokenizer.tokenize(strings)))
    dataset = tf.data.Dataset.from_tensors(SEEN).map(round_trip)
    expected = [text.encode() for text in SEEN]
    for disturb in (lambda: keras.utils.set_random_seed(1), keras.utils.clear_session):
        assert round_trip(batch).numpy().tolist() == expected
        disturb()
        assert round_trip(batch).numpy().tolist() == expected
        assert next(iter(dataset)).numpy().tolist() == expected
        assert tokenizer.decode(tokenizer.encode(SEEN)) == SEEN


def test_save_and_load(tokenizer, tmp_path):
    path = tmp_path / "tokenizer"
    tokenizer.save(path)
    loaded = Tokenizer.load(path)
    assert (loaded.model, loaded.vocabulary_size) == (tokenizer.model, tokenizer.vocabulary_size)
    assert loaded.encode(SEEN + UNSEEN) == tokenizer.encode(SEEN + UNSEEN)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer"]
    with pytest.raises(FileExistsError, match="overwrite=True"):
        tokenizer.save(path)
    tokenizer.save(path, overwrite=True)


SERVED_OPS = {"wordpiece": {"FastWordpieceTokenizeWithOffsets"}}
SERVED_OPS["bpe"] = {"SentencepieceOp", "SentencepieceTokenizeOp", "SentencepieceDetokenizeOp"}
SERVED_OPS["unigram"] = SERVED_OPS["bpe"]

IN_EXILE = """
import sys, tensorflow as tf, tensorflow_text
texts = open("texts", "rb").read().split(b"|")
for model in sys.argv[1:]:
    loaded = tf.saved_model.load(model)
    assert loaded.round_trip(tf.constant(texts)).numpy().tolist() == texts, model
assert "keras_transformer" not in sys.modules and "sentencepiece" not in sys.modules
"""


class Service(tf.Module):
    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def round_trip(self, strings):
        return self.tokenizer.detokenize(self.tokenizer.tokenize(strings).to_tensor(PAD))


def test_exports_run_elsewhere_with_ops_that_servers_have(tokenizers, tmp_path):
    for model, tokenizer in tokenizers.items():
        tf.saved_model.save(Service(tokenizer), str(tmp_path / "here" / model))
        saved = SavedModel.FromString((tmp_path / "here" / model / "saved_model.pb").read_bytes())
        graph = saved.meta_graphs[0].graph_def
        ops = {node.op for nodes in [graph.node, *(f.node_def for f in graph.library.function)] for node in nodes}
        assert {op for op in ops if "iece" in op or op.startswith("TFText>")} == SERVED_OPS[model]
        assert not {op for op in ops if "Py" in op or "Xla" in op}

    shutil.move(tmp_path / "here", tmp_path / "there")
    (tmp_path / "there" / "texts").write_bytes("|".join(SEEN).encode())
    command = [sys.executable, "-c", IN_EXILE, *MODELS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "there", check=False)
    assert done.returncode == 0, done.stderr


def test_training_is_repeatable(tokenizer, tmp_path):
    half = len(corpus()) // 2
    (tmp_path / "a.txt").write_text("\n".join(corpus()[:half]) + "\n", encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\n".join(corpus()[half:]).encode()))
    files = [str(tmp_path / "a.txt"), tmp_path / "b.txt.gz"]
    again = Tokenizer.train(files, tokenizer.vocabulary_size, tokenizer.model)
    assert again._data == tokenizer._data


def test_a_sample_of_the_lines_is_repeatable_too(tokenizers, corpus_file, monkeypatch):
    monkeypatch.setattr(learning, "MAX_LINES", 300)
    sample, alphabet = learning.read_sample(iter(corpus()))
    assert len(sample) == 300
    assert sample == [line for line in corpus() if line in sample]
    assert set(sample) - set(corpus()[:300]) and set(sample) & set(corpus()[:300]), "from all parts of the corpus"
    assert alphabet == set("".join(corpus()))
    first = Tokenizer.train(corpus_file, SIZES["bpe"])
    second = Tokenizer.train(corpus_file, SIZES["bpe"])
    assert first._data == second._data
    assert first.encode(corpus()) != tokenizers["bpe"].encode(corpus())


def test_no_line_is_skipped(tokenizer, tmp_path):
    unusual = ["qxqxqx ▅ qxqxqx", "qxqxqx " * 2_000, "\t qxqxqx"]
    for number, line in enumerate(unusual):
        path = tmp_path / f"{number}.txt"
        path.write_text("\n".join(corpus() + [line] * 40), encoding="utf-8")
        learned = Tokenizer.train(path, tokenizer.vocabulary_size, tokenizer.model)
        ids = learned.encode("qxqxqx")  # six bytes, or UNK, if these lines were skipped
        assert len(ids) <= 3
        assert UNK not in ids
        assert learned.decode(learned.encode(line)) == line


@pytest.mark.parametrize("model", MODELS)
def test_the_limits_named_by_errors_are_true(corpus_file, model):
    with pytest.raises(ValueError, match=r"vocabulary_size=9 is too small: .* at least \d+") as small:
        Tokenizer.train(corpus_file, 9, model)
    with pytest.raises(ValueError, match=r"vocabulary_size=99999 is too large: .* at most \d+") as large:
        Tokenizer.train(corpus_file, 99_999, model)
    for error in (small, large):
        limit = int(str(error.value).split("at least " if error is small else "at most ")[1].split()[0])
        assert Tokenizer.train(corpus_file, limit, model).vocabulary_size == limit
        beyond = limit - 1 if error is small else limit + 1
        with pytest.raises(ValueError, match="too small" if error is small else "too large"):
            Tokenizer.train(corpus_file, beyond, model)


def test_train_errors(corpus_file, tmp_path):
    with pytest.raises(ValueError, match=r"model='word' is unknown.*'bpe', 'unigram', 'wordpiece'"):
        Tokenizer.train(corpus_file, 300, "word")
    for size in (300.0, "300", True, None):
        with pytest.raises(TypeError, match="vocabulary_size must be an int"):
            Tokenizer.train(corpus_file, size)
    for size in (-1, 0, 4):
        with pytest.raises(ValueError, match=f"vocabulary_size={size} must be above 4"):
            Tokenizer.train(corpus_file, size)
    with pytest.raises(ValueError, match="files is empty"):
        Tokenizer.train([])
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        Tokenizer.train([corpus_file, tmp_path / "absent.txt"])


@pytest.mark.parametrize("model", MODELS)
def test_a_bad_file_stops_training(corpus_file, tmp_path, model):
    (tmp_path / "blank.txt").write_text("\n  \n")
    with pytest.raises(ValueError, match=r"blank\.txt holds no text"):
        Tokenizer.train([corpus_file, tmp_path / "blank.txt"], 300, model)
    (tmp_path / "latin.txt").write_bytes(b"fine\nM\xe4nner\n")
    with pytest.raises(ValueError, match=r"latin\.txt, line 2: not valid UTF-8"):
        Tokenizer.train([corpus_file, tmp_path / "latin.txt"], 300, model)


def test_load_refuses_other_files(tokenizers, corpus_file, tmp_path):
    def refused(data, rule):
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(ValueError, match=f"file: {rule}"):
            Tokenizer.load(tmp_path / "file")

    refused(b"", "no bytes to read")
    refused(b"just some text\n", "neither a SentencePiece model nor")
    refused(tokenizers["bpe"]._data[:1000], "neither a SentencePiece model nor")
    refused(tokenizers["wordpiece"]._data[:-1], "the WordPiece vocabulary does not end with a line end")
    refused(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", r"the WordPiece vocabulary begins with .*CLS.* required is .*START")
    refused(b"[PAD]\n\xff\n", "the WordPiece vocabulary is not UTF-8")
    specials = b"[PAD]\n[UNK]\n[START]\n[END]\n"
    refused(specials + b"word\n", "line 5: the piece 'word' begins neither")
    refused(specials + b"##\n", "line 5: the piece '##' begins neither")
    refused(specials + b"##a\n##a\n", "line 6: the piece '##a' is already on line 5")
    with pytest.raises(FileNotFoundError, match="absent"):
        Tokenizer.load(tmp_path / "absent")

    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus_file), model_prefix=str(tmp_path / "foreign"), vocab_size=150, minloglevel=2
    )
    foreign = (tmp_path / "foreign.model").read_bytes()
    refused(foreign, "the SentencePiece model has .* ids -1, 0, 1, 2; required are 0, 1, 2, 3")


def test_encode_and_decode_errors(tokenizer):
    size = tokenizer.vocabulary_size
    for method in (tokenizer.decode, tokenizer.pieces):
        for wrong in (size, -1):
            with pytest.raises(ValueError, match=f"id {wrong} is outside the vocabulary of {size} pieces"):
                method([5, wrong])
        for wrong in ([1.0], ["a"], [True], 5, "abc", None):
            with pytest.raises(TypeError, match="integers, got"):
                method(wrong)
    for wrong, place in ((5, ""), (None, ""), (["a", 5], "[1]"), ([["a"]], "[0]"), (b"a", "")):
        with pytest.raises(TypeError, match=rf"^text{re.escape(place)} must be a string( or a list of strings)?, got"):
            tokenizer.encode(wrong)
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(\)"):
        tokenizer.tokenize(tf.constant("a"))
    with pytest.raises(ValueError, match=r"shape \(N, L\), got \(2,\)"):
        tokenizer.detokenize(tf.constant([5, 6]))
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)):
        tokenizer.detokenize(tf.constant([[5, size]]))
