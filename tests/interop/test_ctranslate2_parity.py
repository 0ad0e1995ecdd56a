"""CTranslate2 reads the folders that we write, with the same log-probabilities and the same translations."""

import json

import keras
import numpy as np
import pytest
import sentencepiece
import tiny
from plain_search import whole

from keras_transformer import Tokenizer, TokenizerPair, Translator
from keras_transformer.ids import END, PAD, START
from keras_transformer.interop import ctranslate2 as writer

SENTENCES = ["4", "3 1 4 1 5", "9 8", "1 2 3 4 5 6 7", "0 0 7 2 2 6"]
VARIANTS = {
    "paper": {},
    "pre": {"norm": "pre", "num_encoder_layers": 3, "num_decoder_layers": 2},
    "learned": {"positions": "learned", "max_length": 31},
    "tied": {"tie_embeddings": "all"},
    "target": {"tie_embeddings": "target"},
    "heads": {"num_heads": 3, "d_k": 7, "use_bias": True},
    "marian": {"positions": "sinusoidal_halves", "output_bias": True, "tie_embeddings": "all", "use_bias": True},
    "unscaled": {"scale_embeddings": False},
    "epsilon": {"layer_norm_epsilon": 0.1},
    **{name: {"activation": name} for name in ("swish", "gelu", "tanh", "sigmoid")},
}


@pytest.fixture(scope="module")
def runtime():
    return pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install -e '.[parity]'")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def padded(rows):
    ids = np.full((len(rows), max(len(row) for row in rows)), PAD, "int32")
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids


def make_trained(tokenizer, **changes):
    """A model after a short training: its translations end, and they have no PAD and no START."""
    model = tiny.compiled(tiny.make_model(vocabulary_size=tokenizer.vocabulary_size, **changes))
    source, target = (tokenizer.encode(list(side)) for side in zip(*tiny.digit_pairs(300), strict=True))
    shifted, labels = padded([[START, *ids] for ids in target]), padded([[*ids, END] for ids in target])
    inputs = {"source": padded([[*ids, END] for ids in source]), "target": shifted}
    model.fit(inputs, labels, batch_size=50, epochs=30, verbose=0)
    return model


def saved(runtime, folder, model, tokenizer, **options):
    """CTranslate2's translator of a model."""
    writer.save(model, tokenizer, folder, **options)
    return runtime.Translator(str(folder), intra_threads=1)


def pieces_of(tokenizer, texts):
    return [tokenizer.pieces(ids) for ids in tokenizer.encode(texts)]


def ids_of(tokenizer, pieces):
    names = tokenizer.pieces(list(range(tokenizer.vocabulary_size)))
    return [names.index(piece) for piece in pieces]


def log_probabilities(model, source, target):
    """log P of each id of the target, by teacher forcing: (T,)."""
    logits = model({"source": np.array([source]), "target": np.array([[START, *target[:-1]]])})
    table = keras.ops.convert_to_numpy(keras.ops.log_softmax(logits))[0]  # (T, V)
    return table[np.arange(len(target)), target]


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_log_probabilities_are_the_models(runtime, tokenizer, tmp_path, changes):
    model = tiny.make_random(**changes)
    theirs = saved(runtime, tmp_path / "ct2", model, tokenizer)
    exact = type(model).from_config({**model.get_config(), "dtype": "float64"})  # so that only one side is rounded
    exact.set_weights(model.get_weights())
    targets = ["1 1", "", "2", "9 8 7 6 5 4 3 2 1", "0 0 7"]
    results = theirs.score_batch(pieces_of(tokenizer, SENTENCES), pieces_of(tokenizer, targets))
    for source, target, scored in zip(*map(tokenizer.encode, (SENTENCES, targets)), results, strict=True):
        assert scored.tokens == tokenizer.pieces([*target, END])
        expected = log_probabilities(exact, [*source, END], [*target, END])
        # Its sums are float32, whose rounding grows with the numbers: on some processors 1.4e-5 at -10.9.
        np.testing.assert_allclose(scored.log_probs, expected, rtol=1e-6, atol=1e-5)


def greedy(model, sources, extra):
    """For each source, the likeliest ids of the whole model, one after another, to END or `extra` over the source."""
    source = padded([[*ids, END] for ids in sources])
    target = np.full((len(sources), source.shape[1] + extra + 1), PAD, "int32")
    target[:, 0] = START
    for length in range(1, target.shape[1]):
        logits = whole(model)(source, target).numpy()[:, length - 1]
        logits[:, [PAD, START]] = -np.inf
        target[:, length] = logits.argmax(-1)
    limits = [len(ids) + 1 + extra for ids in sources]
    rows = [row[1 : 1 + limit].tolist() for row, limit in zip(target, limits, strict=True)]
    return [row[: row.index(END)] if END in row else row for row in rows]


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_greedy_translations_are_ours(runtime, tokenizer, tmp_path, changes):
    model = tiny.make_random(seed=1, **changes)
    theirs = saved(runtime, tmp_path / "ct2", model, tokenizer)
    forbidden = [[piece] for piece in tokenizer.pieces([PAD, START])]  # an untrained model would produce them
    sources = pieces_of(tokenizer, SENTENCES)
    for source, expected in zip(sources, greedy(model, tokenizer.encode(SENTENCES), extra=20), strict=True):
        [result] = theirs.translate_batch(
            [source],
            beam_size=1,
            suppress_sequences=forbidden,
            min_decoding_length=0,
            max_decoding_length=len(source) + 1 + 20,
        )
        assert ids_of(tokenizer, result.hypotheses[0]) == expected


@pytest.mark.parametrize(
    ("kind", "beam_sizes", "changes"),
    [
        ("wordpiece", (1, 4), {}),
        ("bpe", (4,), {"norm": "pre", "positions": "learned", "max_length": 61, "activation": "swish"}),
    ],
)
def test_trained_models_translate_as_ours_do(runtime, tmp_path, kind, beam_sizes, changes):
    tokenizer = tiny.make_tokenizer(tmp_path, kind)
    model = make_trained(tokenizer, **changes)
    theirs = saved(runtime, tmp_path / "ct2", model, tokenizer)
    source, lengths = pieces_of(tokenizer, SENTENCES), set()
    for beam_size in beam_sizes:
        ours = Translator(model, tokenizer, beam_size=beam_size, length_penalty=0.0, max_extra_length=40)
        options = {"beam_size": beam_size, "min_decoding_length": 0, "return_scores": True}
        batch = theirs.translate_batch(source, length_penalty=0, **options)
        for [expected], result in zip(ours.n_best(SENTENCES, 1), batch, strict=True):
            assert expected.finished
            assert tokenizer.decode(ids_of(tokenizer, result.hypotheses[0])) == expected.text
            assert result.scores[0] == pytest.approx(expected.score, abs=1e-4)
            lengths.add(len(result.hypotheses[0]))
        batch = theirs.translate_batch(source, length_penalty=1, **options)
        for sentence, result in zip(SENTENCES, batch, strict=True):
            target = [*ids_of(tokenizer, result.hypotheses[0]), END]  # they divide by its length
            total = log_probabilities(model, [*tokenizer.encode(sentence), END], target).sum()
            assert result.scores[0] == pytest.approx(total / len(target), abs=1e-4)
    assert len(lengths) > 3
    [empty] = theirs.translate_batch([[]], return_scores=True)
    assert (empty.hypotheses[0], empty.scores[0]) == ([], 0.0)


def test_sentencepiece_reads_the_folder_of_a_marian_model(runtime, tmp_path):
    """SentencePiece and CTranslate2 alone translate as we do, with the languages in front and unknown pieces too."""
    marian = pytest.importorskip("keras_transformer.interop.marian")
    make_marian = pytest.importorskip("make_marian", reason="pip install -e '.[parity]' for torch and transformers")
    model, tokenizer = marian.load(make_marian.RECORDED)
    theirs = saved(runtime, tmp_path / "ct2", model, tokenizer)
    for name in ("source.spm", "target.spm"):
        assert (tmp_path / "ct2" / name).read_bytes() == (make_marian.RECORDED / name).read_bytes()
    source, target = (
        sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "ct2" / f"{side}.spm"))
        for side in ("source", "target")
    )
    sentences = [*make_marian.sentences(7, make_marian.SYLLABLES["source"], 200), "grü 中 UNK", ""]
    codes = ["", ">>fra<<", ">>deu<<"]
    texts = [f"{codes[number % 3]}{sentence}" for number, sentence in enumerate(sentences)]
    pieces = [
        [*filter(None, [codes[number % 3]]), *source.encode(sentence, out_type=str)]
        for number, sentence in enumerate(sentences)
    ]
    known = {*tokenizer.pieces(range(4, tokenizer.vocabulary_size))}
    for text, row in zip(texts, pieces, strict=True):  # CTranslate2, too, takes what the vocabulary lacks as unknown
        assert [piece if piece in known else "<unk>" for piece in row] == tokenizer.pieces(tokenizer.encode(text))
    options = {"beam_size": 4, "length_penalty": 0, "min_decoding_length": 0, "max_decoding_length": 100}
    found = theirs.translate_batch(pieces, **options)
    ours = Translator(model, tokenizer, beam_size=4, length_penalty=0.0, max_extra_length=60).n_best(texts, 1)
    read = [target.decode(result.hypotheses[0]).replace("▁", " ").strip() for result in found]
    ended = [number for number, [expected] in enumerate(ours) if expected.finished]
    assert [read[number] for number in ended] == [ours[number][0].text for number in ended]
    assert len(ended) > 190
    writer.save(model, tokenizer, tmp_path / "ct2", overwrite=True)  # the models are files of the folder


STRANGE = 'a"b\\c 😀é <s>\tx\u2028y \x0c z[PAD] {} \x7f'


@pytest.mark.parametrize(("kind", "size"), [("bpe", 289), ("unigram", 281), ("wordpiece", 36)])
def test_any_piece_survives_the_vocabulary_file(runtime, tmp_path, kind, size):
    (tmp_path / "text").write_text(f"{STRANGE}\n" * 3, encoding="utf-8")
    tokenizer = Tokenizer.train(tmp_path / "text", size, kind)
    theirs = saved(runtime, tmp_path / "ct2", tiny.make_random(vocabulary_size=size), tokenizer)
    vocabulary = json.loads((tmp_path / "ct2" / "shared_vocabulary.json").read_text(encoding="utf-8"))
    assert vocabulary == tokenizer.pieces(list(range(size)))
    assert len(set(vocabulary)) == size
    ids = tokenizer.encode(f"{STRANGE} </s> <0x41> ☃")
    [scored] = theirs.score_batch([tokenizer.pieces(ids)], [tokenizer.pieces(ids)])
    assert scored.tokens == tokenizer.pieces([*ids, END])


def test_the_folder_is_whole_and_replaced_only_when_asked(runtime, tokenizer, tmp_path):
    model, folder = tiny.make_model(layer_norm_epsilon=1e-5), tmp_path / "en_de"
    writer.save(model, tokenizer, folder)
    names = ["config.json", "model.bin", "shared_vocabulary.json", "tokenizer.model"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert Tokenizer.load(folder / "tokenizer.model").encode("3 1 4") == tokenizer.encode("3 1 4")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    special = {"bos_token": "[START]", "eos_token": "[END]", "unk_token": "[UNK]", "decoder_start_token": "[START]"}
    rest = {"add_source_bos": False, "add_source_eos": True, "layer_norm_epsilon": 1e-5, "multi_query_attention": False}
    assert config == special | rest
    (folder / "model.bin").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="en_de exists already"):
        writer.save(model, tokenizer, folder)
    assert (folder / "model.bin").read_bytes() == b"precious"
    writer.save(model, tokenizer, folder, overwrite=True)
    assert runtime.contains_model(str(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["en_de"]


def test_quantization_is_of_the_file_and_not_of_the_model(runtime, tokenizer, tmp_path):
    model = tiny.make_random()
    before = model.get_weights()
    theirs = saved(runtime, tmp_path / "int8", model, tokenizer, quantization="int8")
    assert theirs.compute_type.startswith("int8")
    for array, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, weight)


def test_the_dtype_policy_leaves_no_trace(runtime, tokenizer, tmp_path):
    model = tiny.make_random()
    half = tiny.make_model(tie_embeddings="none", dtype="mixed_bfloat16")
    half.set_weights(model.get_weights())
    for folder, saved_model in (("full", model), ("half", half)):
        writer.save(saved_model, tokenizer, tmp_path / folder)
    assert (tmp_path / "full" / "model.bin").read_bytes() == (tmp_path / "half" / "model.bin").read_bytes()


def test_max_length_is_the_last_position_that_is_served(runtime, tokenizer, tmp_path):
    theirs = saved(runtime, tmp_path / "ct2", tiny.make_random(), tokenizer, max_length=5)
    [result] = theirs.translate_batch([["▁"] * 4], min_decoding_length=5, max_decoding_length=5)  # END is the fifth
    assert len(result.hypotheses[0]) == 5
    with pytest.raises(RuntimeError, match="No position encodings are defined for positions >= 5"):
        theirs.translate_batch([["▁"] * 5])


def two_tokenizers(folder, source="wordpiece", target="wordpiece"):
    """A pair of one tokenizer of digits and one of letters, and a model of their sizes."""
    paths = tiny.write_pairs(folder, tiny.lettered_pairs(60))
    sizes = {"wordpiece": (25, 21), "bpe": (281, 277)}
    kinds = enumerate(zip(paths, (source, target), strict=True))
    pair = TokenizerPair(*(Tokenizer.train(path, sizes[kind][side], kind) for side, (path, kind) in kinds))
    ours, theirs = pair.vocabulary_sizes.values()
    return pair, tiny.make_random(seed=1, vocabulary_size=ours, target_vocabulary_size=theirs)


@pytest.mark.parametrize(("source", "target"), [("wordpiece", "wordpiece"), ("bpe", "wordpiece"), ("wordpiece", "bpe")])
def test_two_vocabularies_score_and_translate_as_ours_do(runtime, tmp_path, source, target):
    pair, model = two_tokenizers(tmp_path, source, target)
    theirs = saved(runtime, tmp_path / "ct2", model, pair)
    sentences = [*SENTENCES[:4], "x 4"]  # WordPiece has no piece for x
    sources, targets = pieces_of(pair.source, sentences), ["b b", "", "c", "j i h g f e d c b", "a a h"]
    results = theirs.score_batch(sources, pieces_of(pair.target, targets))
    for sentence, row, scored in zip(sentences, pair.target.encode(targets), results, strict=True):
        assert scored.tokens == pair.target.pieces([*row, END])
        expected = log_probabilities(model, [*pair.source.encode(sentence), END], [*row, END])
        np.testing.assert_allclose(scored.log_probs, expected, rtol=0, atol=1e-5)
    ours = Translator(model, pair, beam_size=1, max_extra_length=20)
    forbidden = [[piece] for piece in pair.target.pieces([PAD, START])]
    for pieces, [expected] in zip(sources, ours.n_best(sentences), strict=True):
        options = {"min_decoding_length": 0, "max_decoding_length": len(pieces) + 1 + 20}
        [found] = theirs.translate_batch([pieces], beam_size=1, suppress_sequences=forbidden, **options)
        assert found.hypotheses[0] == [token for token in expected.tokens if token != pair.target.pieces([END])[0]]


def test_the_folder_of_two_vocabularies(runtime, tokenizer, tmp_path):
    pair, model = two_tokenizers(tmp_path / "corpus", "bpe")
    folder = tmp_path / "ct2"
    writer.save(model, pair, folder)
    tokenizers, vocabularies = (
        [f"{side}_{name}" for side in ("source", "target")] for name in ("tokenizer.model", "vocabulary.json")
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["config.json", "model.bin", *tokenizers, *vocabularies]
    )
    written = [json.loads((folder / name).read_text(encoding="utf-8")) for name in vocabularies]
    pieces = [part.pieces(list(range(part.vocabulary_size))) for part in (pair.source, pair.target)]
    assert written == [["[PAD]", "[UNK]", "[START]", "[END]", *pieces[0][4:]], pieces[1]]
    assert TokenizerPair.load(folder).fingerprint == pair.fingerprint
    writer.save(tiny.make_model(), TokenizerPair(tokenizer, tokenizer), folder, overwrite=True)
    assert (folder / "shared_vocabulary.json").is_file()


def test_a_source_with_a_piece_that_is_special_in_the_target_is_refused(tmp_path):
    lines = [f"{number}" for number in range(100)]
    source = Tokenizer.train(lines, 290, user_defined_symbols=["[END]"], hard_vocab_limit=False)
    target = Tokenizer.train(lines, 40, "wordpiece")
    model = tiny.make_model(
        vocabulary_size=source.vocabulary_size, target_vocabulary_size=target.vocabulary_size, tie_embeddings="none"
    )
    with pytest.raises(
        ValueError, match=r"^the source's tokenizer has the piece '\[END\]', which is a special piece of"
    ):
        writer.save(model, TokenizerPair(source, target), tmp_path / "ct2")
