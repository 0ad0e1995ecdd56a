"""Training with two tokenizers: the folder, resuming, and what does not fit."""

import re

import pytest
import tiny

from keras_transformer import Tokenizer, TokenizerPair, Translator, parallel_corpus
from keras_transformer.training import Checkpoint

PAIRS = tiny.lettered_pairs(30)
SIDES = [list(side) for side in zip(*PAIRS, strict=True)]
OTHER = {  # tokenizers of the same sizes
    "source": Tokenizer.train(["0123456789", "0 1 2 3 4 5 6 7 8 9 11"], 25, "wordpiece"),
    "target": Tokenizer.train(["abcdefghij", "a b c d e f g h i j k"], 21, "wordpiece"),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny.make_pair(tmp_path_factory.mktemp("pair"))


def make_model(**changes):
    return tiny.compiled(tiny.make_model(**tiny.PAIR_SIZES, **{"tie_embeddings": "target", **changes}))


@pytest.fixture(scope="module")
def run(pair, tmp_path_factory):
    """The folder of a run of one epoch."""
    folder, corpus = tmp_path_factory.mktemp("runs") / "run", parallel_corpus(*SIDES, pair, num_shapes=1)
    model = make_model()
    model.fit(corpus, shuffle=False, verbose=0, callbacks=[Checkpoint(folder, pair, corpus=corpus)])
    return folder, model


def test_a_folder_of_training_translates(run, pair):
    folder, model = run
    names = ["checkpoints", "model.keras", "source_tokenizer.model", "target_tokenizer.model"]
    assert sorted(path.name for path in folder.iterdir()) == names
    loaded = Translator.load(folder, beam_size=1, max_extra_length=3)
    assert loaded(SIDES[0][:5]) == Translator(model, pair, beam_size=1, max_extra_length=3)(SIDES[0][:5])
    assert loaded.tokenizer.fingerprint == pair.fingerprint


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_run_of_another_tokenizer_of_a_side_is_refused(run, pair, side):
    parts = {"source": pair.source, "target": pair.target, side: OTHER[side]}
    changed = TokenizerPair(**parts)
    corpus = parallel_corpus(*SIDES, changed, num_shapes=1)
    names = rf"tokenizer\.{side} is '{getattr(pair, side).fingerprint}' there and '{OTHER[side].fingerprint}' here"
    with pytest.raises(ValueError, match=rf"is of another run: .*{names}\. Start"):
        make_model().fit(corpus, shuffle=False, verbose=0, callbacks=[Checkpoint(run[0], changed, corpus=corpus)])


def test_another_tokenizer_than_that_of_the_corpus_is_refused(pair, tmp_path):
    corpus = parallel_corpus(*SIDES, pair, num_shapes=1)
    for other in (TokenizerPair(pair.target, pair.source), TokenizerPair(pair.source, OTHER["target"]), pair.source):
        with pytest.raises(ValueError, match=r"^tokenizer differs from that of corpus\. Pass the one that par"):
            Checkpoint(tmp_path / "run", other, corpus=corpus)


def test_another_kind_of_tokenizer_replaces_the_files_of_an_earlier_run(pair, tmp_path):
    for name in ("model.keras", "tokenizer.model"):
        (tmp_path / name).write_text("of an earlier run")
    checkpoint = Checkpoint(tmp_path, pair, overwrite=True)
    checkpoint.set_model(make_model())
    checkpoint.on_train_begin()
    checkpoint.on_epoch_end(0)
    checkpoint.on_train_end()
    names = ["model.keras", "source_tokenizer.model", "target_tokenizer.model"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    (tmp_path / "model.keras").unlink()
    with pytest.raises(FileExistsError, match=r"holds a source_tokenizer\.model already\. Choose another folder"):
        Checkpoint(tmp_path, pair)


def test_tokenizers_that_do_not_fit_are_refused_before_the_first_step(pair, tmp_path):
    exchanged = TokenizerPair(pair.target, pair.source)
    for tokenizer, model, message in (
        (
            exchanged,
            make_model(),
            "x: the tokenizer of this corpus has 21 source pieces and the model's vocabulary_size is 25. They must be "
            "equal: source and target seem to be exchanged, here or in the model.",
        ),
        (
            pair.source,
            make_model(),
            "x: the tokenizer of this corpus has 25 target pieces and the model's target_vocabulary_size is 21. They "
            "must be equal: make the model with target_vocabulary_size=25.",
        ),
        (
            TokenizerPair(pair.source, OTHER["source"]),
            tiny.compiled(tiny.make_model(tie_embeddings="all")),
            "x: the TokenizerPair of this corpus has two vocabularies, and the model has tie_embeddings='all', one "
            "matrix for the pieces of both. Make the model with tie_embeddings='target' or 'none'.",
        ),
    ):
        texts = SIDES[::-1] if tokenizer is exchanged else SIDES
        corpus = parallel_corpus(*texts, tokenizer, num_shapes=1)
        for method in (model.fit, model.evaluate):
            with pytest.raises(ValueError) as error:
                method(corpus, verbose=0)
            assert str(error.value) == message
        if tokenizer is not pair.source:
            checkpoint = Checkpoint(tmp_path / "run", tokenizer)
            checkpoint.set_model(model)
            with pytest.raises(
                ValueError, match=rf"the model in {re.escape(str(tmp_path))}/run could not be loaded\. .*"
            ):
                checkpoint.on_train_begin()
            checkpoint.lock.release()
