"""A translator with a shortlist: what it may choose, that a batch changes nothing, files, exports, and refusals."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tiny
from nltk.translate import AlignedSent, IBMModel1
from processors import needs_vnni

from keras_transformer import Translator, parallel_corpus
from keras_transformer.ids import END, NUM_RESERVED, PAD
from keras_transformer.translation import Shortlist
from keras_transformer.translation.lexicon import NOTHING, likeliest, model_1

SENTENCES = ["3 1 4", "", "2 7 1 8 2 8", "9", "1 6 1 8 0", "0 0 0 0 0 0 0 0"]
SIZE = tiny.VOCABULARY_SIZES["wordpiece"]
SIZES = {"source": SIZE, "target": SIZE}
SEARCH = {"beam_size": 2, "min_length": 4, "max_extra_length": 6}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("shortlist"))


@pytest.fixture(scope="module")
def model():
    return tiny.make_opinionated(seed=3)


def translator(model, tokenizer, shortlist=None, **options):
    return Translator(model, tokenizer, **{**SEARCH, "shortlist": shortlist, **options})


def some(seed=1, per_piece=3, common=(7, 12, 20, 9)):
    """A shortlist of a few random pieces."""
    return Shortlist(np.random.default_rng(seed).integers(4, SIZE, (SIZE, per_piece)), common, SIZES)


def everything():
    return Shortlist(np.tile(np.arange(SIZE), (SIZE, 1)), range(4, SIZE), SIZES)


def test_model_1_is_that_of_nltk():
    pairs = [([5, 6], [8, 9]), ([5, 7, 7], [8, 10]), ([6], [9]), ([7, 6, 5], [10, 9, 8])]
    reference = IBMModel1([AlignedSent(list(map(str, t)), list(map(str, s))) for s, t in pairs], 5)
    sources, targets, probabilities = model_1(pairs, 11)
    assert set(sources) == {NOTHING, 5, 6, 7}
    for source, target, probability in zip(sources.tolist(), targets.tolist(), probabilities.tolist(), strict=True):
        expected = reference.translation_table[str(target)][str(source) if source else None]
        assert probability == pytest.approx(expected, rel=1e-9)
    assert np.bincount(sources, probabilities)[[0, 5, 6, 7]] == pytest.approx(1)


def test_the_likeliest_by_hand():
    found = likeliest(*(np.array(x) for x in ([0, 2, 2, 2], [5, 4, 5, 6], [1.0, 0.2, 0.5, 0.3])), 4, 2)
    assert found.tolist() == [[5, 0], [0, 0], [5, 6], [0, 0]]


def test_a_learned_shortlist_knows_which_pieces_translate_which(tokenizer, tmp_path):
    """The target is the source backwards: each digit translates itself. All follow a space, or begin the sentence."""
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path, tiny.digit_pairs(200)), tokenizer, start=(2, 0))
    shortlist = Shortlist.learn(corpus, per_piece=4, common=3)
    assert corpus.position.epoch == 2, "the corpus goes on as if it had not been read"
    assert shortlist.table.shape == (SIZE, 5) and len(shortlist.common) == 3
    names = [piece.strip("▁#") for piece in tokenizer.pieces(range(SIZE))]
    digits = {piece for text, _ in tiny.digit_pairs(200) for piece in tokenizer.encode(text)}
    assert len(digits) == 10
    for piece in digits:
        assert piece in shortlist.table[piece, 1:], names[piece]
    assert (shortlist.table[NUM_RESERVED:, 0] == range(NUM_RESERVED, SIZE)).all(), "both languages have the same pieces"
    assert not shortlist.table[:NUM_RESERVED, 0].any() and not shortlist.table[PAD].any()


def test_pieces_of_a_batch_by_hand():
    table = np.zeros((7, 2), int)
    table[4], table[5] = (5, 6), (4, 0)
    pieces, allowed, places = Shortlist(table, [6], {"source": 7, "target": 7}).of_batch(
        tf.constant([[5, 3, 0], [4, 5, 3]]), tf.constant([[5], [0]])
    )
    assert pieces.numpy().tolist() == [0, 1, 2, 3, 6, 5, 4]
    assert allowed.numpy().tolist() == [[True] * 7, [True] * 7]
    assert places.numpy().tolist() == [[5], [0]]
    _, allowed, places = Shortlist(table, [6], {"source": 7, "target": 7}).of_batch(tf.constant([[5, 3], [4, 3]]))
    assert allowed.numpy().astype(int).tolist() == [[1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0, 1]]
    assert places.shape == (2, 0)


def test_all_pieces_are_no_shortlist(model, tokenizer):
    rules = {"coverage_penalty": 0.2, "no_repeat_ngram": 2}
    found, expected = (translator(model, tokenizer, s, **rules).n_best(SENTENCES) for s in (everything(), None))
    for mine, other in zip(found, expected, strict=True):
        assert [hypothesis.text for hypothesis in mine] == [hypothesis.text for hypothesis in other]
        assert [h.score for h in mine] == pytest.approx([h.score for h in other], rel=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_sentence_gets_its_pieces_and_the_same_alone_and_in_a_batch(model, tokenizer, beam_size):
    shortlist = some()
    short = translator(model, tokenizer, shortlist, beam_size=beam_size)
    together = short.n_best(SENTENCES)
    for sentence, hypotheses in zip(SENTENCES, together, strict=True):
        [alone] = short.n_best([sentence])
        assert [h.text for h in alone] == [h.text for h in hypotheses]
        assert [h.score for h in alone] == pytest.approx([h.score for h in hypotheses], rel=1e-5)
        own = {*shortlist.common.tolist(), *shortlist.table[[*tokenizer.encode(sentence), END]].ravel().tolist()}
        names = {*tokenizer.pieces(sorted(own)), "[UNK]", "[END]"}
        assert all(set(hypothesis.tokens) <= names for hypothesis in hypotheses)
    assert len({token for [best, *_] in together for token in best.tokens}) > 2


def test_a_common_piece_counts_once(tokenizer):
    """Its own pieces and no others are allowed, however often the list of common pieces names one."""
    source = tf.constant([[5, END], [9, END]])
    once, twice = (some(common=common).of_batch(source) for common in ((7, 12, 20), (7, 7, 12, 20, 7)))
    for found, expected in zip(twice, once, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert some(common=(7, 7, 12)).digest == some(common=(7, 12)).digest


def test_a_prefix_may_have_other_pieces(model, tokenizer):
    shortlist = Shortlist(np.zeros((SIZE, 1), int), [7, 8, 9, 10], SIZES)
    short = translator(model, tokenizer, shortlist, max_extra_length=8)
    prefix = "5 9 5"
    assert not set(tokenizer.encode(prefix)) <= {7, 8, 9, 10}
    assert all(text.startswith(prefix) for text in short(["3 1", "4"], prefixes=[prefix, prefix]))


@needs_vnni
def test_integers_choose_among_their_pieces(tokenizer, monkeypatch):
    monkeypatch.setattr("keras_transformer.backend.int8.SMALLEST", 1)
    model = tiny.make_opinionated(seed=3)
    model.quantize("int8")
    short = translator(model, tokenizer, some())
    assert short(SENTENCES) == [short([sentence])[0] for sentence in SENTENCES]


def test_ensembles_and_vocabularies_of_two_languages(tmp_path):
    pair, files = tiny.make_pair(tmp_path), tiny.write_pairs(tmp_path, tiny.lettered_pairs(60))
    shortlist = Shortlist.learn(parallel_corpus(*files, pair), per_piece=5, common=6)
    models = [tiny.make_opinionated(seed=seed, **tiny.PAIR_SIZES) for seed in (1, 2)]
    assert shortlist.table.shape == (25, 5) and shortlist.table.max() < 21
    short = translator(models, pair, shortlist)
    assert short(SENTENCES) == [short([sentence])[0] for sentence in SENTENCES]


def test_an_export_chooses_among_the_same_pieces(model, tokenizer, tmp_path):
    short = translator(model, tokenizer, some())
    short.export(tmp_path / "1", check=False)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"](sentences=tf.constant(SENTENCES))
    assert [text.decode() for text in served["translations"].numpy()] == short(SENTENCES)


def test_a_file_comes_back(tmp_path, model, tokenizer):
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path, tiny.digit_pairs(30)), tokenizer)
    shortlist = Shortlist.learn(corpus, per_piece=3, common=5)
    shortlist.save(tmp_path / "shortlist.npz")
    loaded = Shortlist.load(tmp_path / "shortlist.npz")
    assert repr(loaded) == repr(shortlist) == "Shortlist(4 pieces for each source piece, 5 for all)"
    assert (loaded.table == shortlist.table).all() and (loaded.common == shortlist.common).all()
    assert (loaded.sizes, loaded.fingerprint) == (shortlist.sizes, tokenizer.fingerprint)
    with pytest.raises(FileExistsError, match=r"shortlist.npz exists"):
        shortlist.save(tmp_path / "shortlist.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "shortlist.npz").read_bytes()[:100])
    (tmp_path / "text.npz").write_text("no shortlist")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    for name in ("cut", "text", "other"):
        with pytest.raises(ValueError, match=re.escape(f"{name}.npz is not the file of a shortlist, or it is damaged")):
            Shortlist.load(tmp_path / f"{name}.npz")


def test_what_does_not_fit_is_refused(model, tokenizer, tmp_path):
    other = tiny.make_tokenizer(tmp_path / "bpe", "bpe")
    corpus = parallel_corpus(*tiny.write_pairs(tmp_path, tiny.digit_pairs(30)), other)
    learned = Shortlist.learn(corpus, per_piece=3, common=5)
    cases = [
        (learned, {}, "the shortlist has 281 source and 281 target pieces, the tokenizer 25 and 25"),
        (
            Shortlist(np.zeros((SIZE, 1), int), range(4, 13), SIZES, "a"),
            {},
            "belongs to another tokenizer of the same size",
        ),
        (
            some(),
            {"beam_size": 3},
            "beam_size=3 needs a shortlist with at least 6 pieces that every sentence may have, reserved ones",
        ),
        (
            some(common=(5, 5, 6, 6, 7, 7, 0, 1)),
            {},
            "beam_size=2 needs a shortlist with at least 4 pieces .*, reserved ones not counted, and this one has 3",
        ),
        (some(), {"suppress": ["unk", 7]}, "suppress has 7: together with a shortlist it may have 'unk' only"),
    ]
    for shortlist, options, message in cases:
        with pytest.raises(ValueError, match=message):
            translator(model, tokenizer, shortlist, **options)
    for wrong in ("shortlist.npz", Shortlist):
        with pytest.raises(TypeError, match=r"shortlist must be a Shortlist, got .* Read a file with Shortlist.load"):
            translator(model, tokenizer, wrong)
    with pytest.raises(ValueError, match=r"table must have 25 rows, one for each source piece: \(24, 2\)"):
        Shortlist(np.zeros((24, 2), int), [5], SIZES)
    with pytest.raises(ValueError, match="common has the id 25, which is no piece of the target: ids are from 0 to 24"):
        Shortlist(np.zeros((25, 2), int), [5, 25], SIZES)
    with pytest.raises(ValueError, match="table must hold ids, which are whole numbers, got an array of float64"):
        Shortlist(np.zeros((25, 2)), [5], SIZES)
    with pytest.raises(ValueError, match=r"common must be a list of ids, got an array of the shape \(1, 2\)"):
        Shortlist(np.zeros((25, 2), int), [[5, 6]], SIZES)
    with pytest.raises(ValueError, match=r"sizes must be .* and 'target' is missing"):
        Shortlist(np.zeros((25, 2), int), [5], {"source": 25})
    np.save(tmp_path / "array.npy", np.arange(3))
    with pytest.raises(ValueError, match=r"array\.npy is not the file of a shortlist, or it is damaged"):
        Shortlist.load(tmp_path / "array.npy")
    with pytest.raises(ValueError, match="per_piece must be a whole number of at least 1, got 0"):
        Shortlist.learn(corpus, per_piece=0)
    with pytest.raises(TypeError, match=r"corpus must be a dataset of parallel_corpus, got 'train.en' \(str\)"):
        Shortlist.learn("train.en")


def test_a_constraint_needs_all_pieces(model, tokenizer):
    class Anything:
        def start(self, source):
            """Unused."""

        advance = allowed = start

    with pytest.raises(ValueError, match="shortlist and constraint cannot go together"):
        translator(model, tokenizer, some(), constraint=Anything(), min_length=0)


def test_it_is_among_the_options_of_a_file(model, tokenizer):
    plain = [translator(model, tokenizer, s).options.as_plain_values() for s in (some(1), some(1), some(2), None)]
    assert plain[0] == plain[1] != plain[2] and len(plain[0]["shortlist"]) == 64
    assert "shortlist" not in plain[3], "a file of before there were shortlists is that of the same work"
