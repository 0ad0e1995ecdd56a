"""A simple beam search to compare with: in Python, with whole models, and without a state between steps."""

import functools

import keras
import numpy as np

from keras_transformer.ids import END, PAD, START


@functools.lru_cache(maxsize=4)
def whole(model):
    """The model as a function of source and target. On TensorFlow it is a graph, which is ten times as fast."""
    if keras.backend.backend() != "tensorflow":
        return lambda source, target: model({"source": source, "target": target})
    import tensorflow as tf

    ids = tf.TensorSpec([None, None], tf.int32)
    return tf.function(lambda source, target: model({"source": source, "target": target}), [ids, ids])


def next_log_probabilities(models, source, prefixes, room=16):
    """log P of each next token after each prefix, (prefixes, V) float64. P is the mean over the models."""
    target = np.full((len(prefixes), room), PAD, "int32")
    for row, prefix in enumerate(prefixes):
        target[row, : len(prefix) + 1] = [START, *prefix]
    total = 0
    for model in models:
        logits = whole(model)(np.tile(np.array(source, "int32"), (len(prefixes), 1)), target)
        logits = np.asarray(keras.ops.convert_to_numpy(logits), "float64")[:, len(prefixes[0])]
        total = total + np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    log_probabilities = np.log(total / len(models))
    log_probabilities[:, [PAD, START]] = -np.inf
    return log_probabilities


def allowed(options, ids, token, length, limit, prefix):
    """Whether `token` may follow `ids`."""
    if len(ids) < len(prefix):
        return token == prefix[len(ids)]
    extended, n = [*ids, token], options.no_repeat_ngram
    if n and extended[-n:] in [extended[i : i + n] for i in range(len(extended) - n)]:
        return False
    least = max(options.min_length, -99 if options.min_extra_length is None else length + options.min_extra_length)
    return token not in options.suppress and (token != END or len(extended) >= min(least, limit))


def coverage(models, source, ids, beta):
    """β·Σ_s log min(Σ_t attention, 1). The attention is the mean over models and the heads of the last layer."""
    target = np.array([[START, *ids[:-1]]])
    maps = [keras.ops.convert_to_numpy(m.attention_weights(np.array([source]), target)["cross"])[-1, 0] for m in models]
    return beta * np.log(np.minimum(np.mean(maps, axis=(0, 1)).sum(0), 1)).sum()


def plain_beam_search(translator, sentence, prefix=""):
    """Hypotheses (ids, log P, score, finished), best first. Suppressed pieces must be given by id."""
    options, models, width = translator.options, translator.models, translator.beam_size
    pieces, forced = translator.tokenizer.encode(sentence), translator.tokenizer.encode(prefix, side="target")
    source, limit = [*pieces, END], min(len(pieces) + 1 + options.max_extra_length, options.max_length or 99)

    def score(ids, log_probability, length):
        penalty = length if options.length_normalization == "power" else (5 + length) / 6
        extra = coverage(models, source, ids, options.coverage_penalty) if options.coverage_penalty else 0
        return log_probability / penalty**options.length_penalty + extra

    live, finished = [((), 0.0)], []
    for length in range(1, limit + 1):
        table = next_log_probabilities(models, source, [ids for ids, _ in live])
        extended = [
            ((*ids, token), total + table[row, token])
            for row, (ids, total) in enumerate(live)
            for token in range(PAD + 1, table.shape[1])
            if token != START and allowed(options, ids, token, len(source), limit, forced)
        ]
        extended = sorted(extended, key=lambda hypothesis: -hypothesis[1])[: 2 * width]
        closed = [(ids, total) for ids, total in extended[:width] if ids[-1] == END]
        finished += [(ids, total, score(ids, total, length), True) for ids, total in closed]
        finished = sorted(finished, key=lambda hypothesis: -hypothesis[2])[:width]
        live = [(ids, total) for ids, total in extended if ids[-1] != END][:width]
        best_live = live[0][1] / (limit if options.length_normalization == "power" else (5 + limit) / 6) ** (
            options.length_penalty
        )
        if len(finished) == width and finished[-1][2] >= best_live:
            break
    cut_off = [(ids, total, score(ids, total, limit), False) for ids, total in live]
    return [*finished, *sorted(cut_off, key=lambda hypothesis: -hypothesis[2])][:width]


def text_of(translator, ids):
    return translator.tokenizer.decode([[i for i in ids if i != END]])[0]
