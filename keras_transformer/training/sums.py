"""Read the sums and counts that a model in `fit` has gathered, over all replicas."""

import keras
import numpy as np

from keras_transformer.backend.compat import weighted_metrics
from keras_transformer.metrics import Perplexity, TokenMetric


def single_metrics(model):
    """Yield the single metrics of a model, the loss first, instead of Keras' containers of them."""
    for metric in model.metrics:
        yield from getattr(metric, "metrics", [metric])


def target_tokens(model):
    """Return the number of target tokens that `fit` has seen in this epoch, as one of our metrics counts them.

    A metric of `compile(weighted_metrics=...)` adds up weights, which are no number of tokens. The result is None if
    there is no other metric.
    """
    weighted = {id(metric) for metric in weighted_metrics(model)}
    for metric in single_metrics(model):
        if isinstance(metric, TokenMetric) and id(metric) not in weighted:
            return int(metric.tokens.numpy())  # the sum over the replicas
    return None


def updates(model):
    """Return how often the optimizer has updated the weights."""
    return int(model.optimizer.iterations.numpy())


def learning_rate(model):
    """Return the learning rate of the next update, whether it is a number, a schedule or a function."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


class Window:
    """Means over the steps since the last call of `means`. Metrics themselves hold sums since the epoch began."""

    def __init__(self):
        self.start()

    def start(self):
        """Start again at zero, as the metrics do when an epoch begins."""
        self.sums_before = {}

    def means(self, model):
        """Return {name: mean} of our metrics and of every `keras.metrics.Mean`; for perplexity, exp of its mean.

        A metric without a new value has no mean. The second metric of a name is a weighted one, and has Keras' name.
        """
        means, names = {}, set()
        for metric in single_metrics(model):
            if not isinstance(metric, TokenMetric | keras.metrics.Mean):
                continue
            name = f"weighted_{metric.name}" if metric.name in names else metric.name
            names.add(name)
            count = metric.tokens if isinstance(metric, TokenMetric) else metric.count
            sums = np.array([metric.total.numpy(), count.numpy()], "float64")
            total, number = sums - self.sums_before.get(name, 0.0)
            self.sums_before[name] = sums
            if number:
                with np.errstate(over="ignore"):  # a perplexity may be infinite
                    mean = total / number
                    means[name] = float(np.exp(mean) if isinstance(metric, Perplexity) else mean)
        return means
