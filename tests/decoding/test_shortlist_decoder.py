"""A search among chosen pieces is the search in which the others have probability 0."""

import keras
import numpy as np
import pytest
from keras import ops
from scripted import BATCH, Scripted, script

from keras_transformer.decoding import BeamOptions, Bounds, Ensemble, beam_search, greedy_search
from keras_transformer.decoding.hypotheses import UNREACHED
from keras_transformer.decoding.shortlist import ShortlistDecoder

pytestmark = pytest.mark.core
SIZE, LIMITS = 11, (7, 3, 5)
TABLE = script(4, end_bias=0.3, size=SIZE)
PIECES = np.array([0, 1, 2, 3, 10, 5, 7, 8], "int32")  # in no order but for the reserved ids
ALLOWED = np.array([[1, 1, 1, 1, 1, 0, 1, 0], [1, 1, 1, 1, 0, 0, 0, 1], [1] * 8], bool)


class Choosing(Scripted):
    """Gives the logits of chosen pieces."""

    @staticmethod
    def chosen_weights(pieces):
        return pieces

    def step_among(self, ids, state, weights):
        logits, state = self.step(ids, state)
        return ops.take(logits, weights, axis=2), state


class Masked(Scripted):
    """Gives a logit to every piece, UNREACHED to those that a sentence may not have."""

    def step(self, ids, state):
        logits, state = super().step(ids, state)
        allowed = np.zeros((BATCH, SIZE), bool)
        allowed[:, PIECES] = ALLOWED
        return ops.where(allowed[:, None], logits, UNREACHED), state


def chosen():
    return ops.convert_to_tensor(PIECES), ops.convert_to_tensor(ALLOWED)


def searched(decoder, state, width):
    bounds = Bounds(ops.convert_to_tensor(np.array(LIMITS, "int32")))
    if width == 1:
        return greedy_search(decoder, state, bounds, max(LIMITS))
    return beam_search(decoder, state, bounds, max(LIMITS), BeamOptions(width, num_results=width))


@pytest.mark.parametrize("width", [1, 3])
def test_pieces_that_are_not_chosen_have_probability_zero(width):
    decoder = ShortlistDecoder(Choosing())
    state = decoder.start(Scripted.start(TABLE, width, 9), *chosen())
    found = searched(decoder, state, width)
    expected = searched(Masked(), Scripted.start(TABLE, width, 9), width)
    np.testing.assert_array_equal(PIECES[ops.convert_to_numpy(found.ids)], ops.convert_to_numpy(expected.ids))
    for mine, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(mine), ops.convert_to_numpy(other), rtol=1e-6)


def test_an_ensemble_chooses_among_the_same_pieces():
    members = [ShortlistDecoder(Choosing()), ShortlistDecoder(Choosing())]
    tables = TABLE, script(5, size=SIZE)
    states = tuple(m.start(Scripted.start(table, 2, 9), *chosen()) for m, table in zip(members, tables, strict=True))
    found = searched(Ensemble(members), states, 2)
    others = tuple(Scripted.start(table, 2, 9) for table in tables)
    expected = searched(Ensemble([Masked(), Masked()]), others, 2)
    np.testing.assert_array_equal(PIECES[ops.convert_to_numpy(found.ids)], ops.convert_to_numpy(expected.ids))
    np.testing.assert_allclose(*(ops.convert_to_numpy(x.scores) for x in (found, expected)), rtol=1e-5)


def test_sentences_that_leave_the_batch_take_their_pieces_along():
    decoder = ShortlistDecoder(Choosing())
    state = decoder.start(Scripted.start(TABLE, 1, 9), *chosen())
    kept = decoder.keep(state, ops.convert_to_tensor(np.array([2, 0], "int32")))
    np.testing.assert_array_equal(ops.convert_to_numpy(kept.allowed), ALLOWED[[2, 0]])
    np.testing.assert_array_equal(ops.convert_to_numpy(kept.inner.table), TABLE[[2, 0]])
    assert keras.tree.flatten(decoder.grow(state, 3).pieces)[0] is state.pieces
