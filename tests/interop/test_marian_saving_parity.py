"""transformers reads the Marian folders that we save: the same ids, logits and translations."""

import keras
import numpy as np
import pytest
import tiny
from layer_contract import values
from marian_checks import our_ids, padded, search
from tiny import digit_pairs

from keras_transformer import Tokenizer
from keras_transformer.ids import END, PAD, START
from keras_transformer.interop import marian

make_marian = pytest.importorskip("make_marian", reason="pip install -e '.[parity]' for torch and transformers")
torch, transformers = make_marian.torch, make_marian.transformers

DIGITS = [source for source, _ in digit_pairs(400)]
OWN = {"positions": "sinusoidal_halves", "layer_norm_epsilon": 1e-5}


def rows_of(tokenizer, texts, side="source"):
    return [[*row, END] for row in tokenizer.encode(texts, side)]


def trained(model, tokenizer, pairs, rate, **options):
    """The model after training on pairs of sentences."""
    source = rows_of(tokenizer, [source for source, _ in pairs])
    target = rows_of(tokenizer, [target for _, target in pairs], "target")
    inputs = {"source": padded(source), "target": padded([[START, *row[:-1]] for row in target])}
    tiny.compiled(model, keras.optimizers.Adam(rate)).fit(inputs, padded(target), verbose=0, **options)
    return model


def recorded():
    """A model as it was loaded."""
    return *marian.load(make_marian.RECORDED), make_marian.sentences(7, make_marian.SYLLABLES["source"], 200)


def tuned():
    """A model that was loaded and trained for one step."""
    model, tokenizer, sentences = recorded()
    pairs = list(zip(sentences[:16], make_marian.sentences(8, make_marian.SYLLABLES["target"], 16), strict=True))
    return trained(model, tokenizer, pairs, 5e-4, batch_size=16), tokenizer, sentences


def own():
    """A model of our own, whose translations end."""
    tokenizer = Tokenizer.train(DIGITS, 281)
    model = tiny.make_model(vocabulary_size=281, **OWN, activation="gelu")
    return trained(model, tokenizer, digit_pairs(400)[:200], 1e-2, batch_size=50, epochs=25), tokenizer, DIGITS[200:]


@pytest.fixture(scope="module", params=[recorded, tuned, own], ids=lambda make: make.__name__)
def case(request, tmp_path_factory):
    """Our model, tokenizer and 200 sentences; those that transformers reads; our id of each of its."""
    model, tokenizer, sentences = request.param()
    folder = tmp_path_factory.mktemp("saved")
    marian.save(model, tokenizer, folder)
    theirs = transformers.MarianMTModel.from_pretrained(folder).eval()
    ids = our_ids(folder, tokenizer)
    if theirs.config.decoder_start_token_id == theirs.config.pad_token_id:
        assert request.param is recorded
    return model, tokenizer, sentences, theirs, make_marian.read_tokenizer(folder), ids


def test_ids_and_texts(case):
    _, tokenizer, sentences, _, theirs, ids = case
    lines = [*sentences, "", " ka  tze ", "x\ty z", "4 中 \N{HORSE}", "é 9"]
    for side, rows in (("source", theirs(lines)), ("target", theirs(text_target=lines))):
        assert [ids[row].tolist() for row in rows["input_ids"]] == rows_of(tokenizer, lines, side)
    rows = [[i for i in row if i not in (theirs.unk_token_id, theirs.eos_token_id)] for row in rows["input_ids"]]
    texts = [text.strip() for text in tokenizer.decode([ids[row].tolist() for row in rows])]
    assert theirs.batch_decode(rows) == texts


def test_logits(case):
    """All logits, START's and PAD's too, in a padded batch. In float32, transformers itself rounds by 1e-5 in a few."""
    model, _, sentences, theirs, tokenizer, ids = case
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    target = np.random.default_rng(3).integers(0, len(ids), (len(sentences), 9))
    target[ids[target] == PAD] = theirs.config.eos_token_id
    target[:, 0] = theirs.config.decoder_start_token_id
    with torch.no_grad():
        logits = theirs(**batch, decoder_input_ids=torch.tensor(target)).logits.numpy()
    ours = ids[target]
    ours[:, 0] = START
    result = values(model({"source": ids[batch["input_ids"].numpy()], "target": ours}))
    errors = np.abs(result[:, :, ids] - logits)
    assert np.quantile(errors, 0.998) < 1e-5
    assert errors.max() < 1e-5 * np.abs(logits).max()


def test_translations_with_a_beam_of_4(case):
    """`generate` with the folder's own settings and the two options that the docstring names."""
    model, tokenizer, sentences, theirs, their_tokenizer, ids = case
    batch = their_tokenizer(sentences, padding=True, return_tensors="pt")
    assert theirs.generation_config.num_beams == 4
    options = {"length_penalty": 0.0, "early_stopping": "never", "max_length": 41}
    with torch.no_grad():
        found = theirs.generate(**batch, **options).numpy()
    rows = [[i for i in ids[row].tolist() if i not in (PAD, START)] for row in found]
    rows = [row[: row.index(END) + 1] if END in row else row for row in rows]  # after it, generate may repeat END
    ours, _ = search(model, padded(rows_of(tokenizer, sentences)), 4)
    assert rows == ours[::4]
    assert len({tuple(row) for row in rows}) > 20
    assert sum(row[-1] == END for row in rows) > 170
