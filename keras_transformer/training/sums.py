"""What a model in `fit` has counted so far, over all replicas."""

import keras
import numpy as np

from keras_transformer.metrics import Perplexity, TokenMetric


def each_metric(model):
    """The model's metrics one by one, its loss first, without Keras' containers."""
    for metric in model.metrics:
        yield from getattr(metric, "metrics", [metric])


def target_tokens(model):
    """Target tokens that `fit` has seen in this epoch, from any of our metrics; None without one."""
    for metric in each_metric(model):
        if isinstance(metric, TokenMetric):
            return int(metric.tokens.numpy())  # summed over the replicas
    return None


def updates(model):
    """How often the optimizer has updated the weights."""
    return int(model.optimizer.iterations.numpy())


class PassedOver:
    """True as long as all steps of an epoch were passed over, by a run that goes on inside it.

    Args:
        callback: a callback of `fit`, at the epoch's beginning.
    """

    def __init__(self, callback):
        self.callback, self.before, self.so_far = callback, updates(callback.model), True

    def __bool__(self):
        # No question any more when a step was done: on JAX a callback's look at the model hands it all its variables.
        self.so_far = self.so_far and updates(self.callback.model) == self.before
        return self.so_far


def learning_rate(model):
    """The optimizer's, whether it is a number, a schedule or a function."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


class Window:
    """Means over the steps since the last look, where metrics hold those since the epoch began."""

    def __init__(self):
        self.start()

    def start(self):
        """The metrics were reset: an epoch begins."""
        self.before = {}

    def means(self, model):
        """{name: the mean over the tokens, or whatever else the metric counts}; perplexity is exp of that."""
        found = {}
        for metric in each_metric(model):
            if not isinstance(metric, TokenMetric | keras.metrics.Mean):
                continue
            count = metric.tokens if isinstance(metric, TokenMetric) else metric.count
            sums = np.array([metric.total.numpy(), count.numpy()], "float64")
            total, number = sums - self.before.get(metric.name, 0.0)
            self.before[metric.name] = sums
            if number:
                with np.errstate(over="ignore"):  # a perplexity may well be infinite
                    mean = total / number
                    found[metric.name] = float(np.exp(mean) if isinstance(metric, Perplexity) else mean)
        return found
