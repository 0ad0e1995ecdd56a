"""What a loaded Marian model must do, whoever says what is right: the recorded case or transformers itself."""

import json

import numpy as np
import tensorflow as tf
from layer_contract import values

from keras_transformer.decoding import beam_search, greedy_search
from keras_transformer.decoding.beam import BeamOptions
from keras_transformer.decoding.rules import Bounds
from keras_transformer.ids import END, PAD, START
from keras_transformer.incremental import IncrementalDecoder

MAX_LENGTH = 40


def our_ids(folder, tokenizer):
    """Our id of each of Marian's, by the pieces' names: an array."""
    ours = {piece: i for i, piece in enumerate(tokenizer.pieces(range(tokenizer.vocabulary_size)))}
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    ids = np.full(len(vocabulary), -1)
    for piece, i in vocabulary.items():
        ids[i] = ours[piece]
    return ids


def padded(rows):
    """Lists of ids as one array (N, longest), filled with PAD."""
    return tf.ragged.constant([list(row) for row in rows], tf.int32).to_tensor(PAD).numpy()


def check_logits(model, ids, source, target, logits):
    """Marian's decoder input begins with its pad, ours with START; every logit equal, START's nothing."""
    assert (ids[target[:, 0]] == PAD).all()
    target = np.concatenate([np.full((len(target), 1), START), ids[target[:, 1:]]], axis=1)
    result = values(model({"source": padded([ids[row] for row in source]), "target": target.astype("int32")}))
    assert result.shape == (*logits.shape[:2], logits.shape[2] + 1)
    np.testing.assert_allclose(result[:, :, ids], logits, atol=1e-4, rtol=0)
    log_softmax = values(tf.nn.log_softmax(result))[:, :, ids]
    np.testing.assert_allclose(log_softmax, values(tf.nn.log_softmax(logits)), atol=1e-4, rtol=0)
    np.testing.assert_allclose(result[:, :, START], result[:, :, PAD] - 100, rtol=1e-6)


def search(model, source, beam_size, max_length=MAX_LENGTH):
    """The hypotheses, W for each sentence, as rows of ids without padding, and their log P."""
    decoder = IncrementalDecoder(model)
    state = decoder.start(model.encode(source), tf.constant(source), max_length, beam_size)
    bounds = Bounds(tf.fill([len(source)], max_length), (), ())
    if beam_size == 1:
        hypotheses = greedy_search(decoder, state, bounds, max_length, length_penalty=0.0)
    else:
        options = BeamOptions(beam_size, length_penalty=0.0, num_results=beam_size)
        hypotheses = beam_search(decoder, state, bounds, max_length, options)
    rows = values(hypotheses.ids).reshape(-1, max_length)
    return [row[row != PAD].tolist() for row in rows], values(hypotheses.log_probabilities).reshape(-1)


def check_search(model, ids, source, beam_size, rows, scores, least=1.0):
    """Token for token, in each sentence whose result rounding cannot change; `least` of them must be such."""
    source, rows = ([ids[row] for row in side] for side in (source, rows))
    scores = np.array(scores).reshape(-1, beam_size)
    if beam_size == 1:
        clear = greedy_gaps(model, source, rows) > 1e-3
    else:  # no near ties, and no hypothesis that the limit cut off
        ends = np.array([row[-1] == END for row in rows]).reshape(-1, beam_size)
        clear = (np.diff(scores, axis=1) < -1e-3).all(axis=1) & ends.all(axis=1)
    assert clear.mean() >= least, f"ties or no ends, {scores}"
    found, log_probabilities = search(model, padded(source), beam_size)
    for sentence in np.flatnonzero(clear):
        hypotheses = slice(sentence * beam_size, (sentence + 1) * beam_size)
        assert found[hypotheses] == [row.tolist() for row in rows[hypotheses]]
        np.testing.assert_allclose(log_probabilities[hypotheses], scores[sentence], atol=1e-4, rtol=0)


def greedy_gaps(model, source, rows):
    """How far the likeliest token is at least from the next, over the steps of each row: (N,)."""
    target = padded([[START, *row[:-1]] for row in rows])
    logits = values(model({"source": padded(source), "target": target}))[:, :, [1, *range(3, model.vocabulary_size)]]
    best = np.sort(logits, axis=-1)[:, :, -2:]
    return np.where(padded(rows) == PAD, np.inf, best[:, :, 1] - best[:, :, 0]).min(axis=1)
