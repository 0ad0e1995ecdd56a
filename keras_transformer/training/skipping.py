"""Skip the steps of an epoch that a resumed run finds in its state already."""

from keras_transformer.training.sums import updates


def skip_steps(model, batches, logs):
    """Let the next steps of `fit` read their batches and do nothing else.

    Keras reads `model.train_function` at each step. This function replaces it, and the last skipped step puts it back.

    Args:
        model: a model in `fit`, before the first step of an epoch.
        batches: int, at least 1, a multiple of `model.steps_per_execution`.
        logs: what the skipped steps return.
    """
    train_function = model.train_function
    steps_left = iter(range(batches // model.steps_per_execution - 1))

    def skip(*arguments):
        *state, iterator = arguments
        for _ in range(model.steps_per_execution):
            next(iterator)  # a batch of padding
        if next(steps_left, None) is None:
            model.train_function = train_function
        return (logs, *state) if state else logs  # on JAX, a step gets the state of training and returns it

    skip.skipped = train_function  # a `fit` that ends too early finds it there
    model.train_function = skip


def stop_skipping(model):
    """Put back what `skip_steps` replaced, if `fit` was interrupted before the last skipped step."""
    model.train_function = getattr(model.train_function, "skipped", model.train_function)


class SkippedSteps:
    """Tells a callback whether all steps of the epoch so far were skipped.

    Args:
        callback: a callback of `fit`, at the beginning of an epoch.
    """

    def __init__(self, callback):
        self.callback = callback
        self.updates_before = updates(callback.model)
        self.only_skipped = True

    def all_so_far(self):
        """Whether the optimizer has made no update in this epoch yet."""
        # After the first update the answer is known. On JAX, each look at the optimizer copies all variables.
        self.only_skipped = self.only_skipped and updates(self.callback.model) == self.updates_before
        return self.only_skipped
