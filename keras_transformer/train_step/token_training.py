"""What one step of `fit` does: exact over target tokens for any number of replicas and micro-batches."""

import contextlib
import inspect
import operator

import keras

from keras_transformer.backend.replicas import check_strategy, num_replicas
from keras_transformer.losses.chunks import OutputMap, logits_left_to
from keras_transformer.losses.label_smoothing import LabelSmoothedCrossEntropy, step_tokens
from keras_transformer.metrics import MaskedAccuracy, Perplexity


class TokenTraining(keras.Model):
    """A model of ids to logits whose training counts target tokens, not rows.

    With `LabelSmoothedCrossEntropy` the logged `loss` is, like our metrics, a sum over all target tokens
    of an epoch divided by their number, however the rows lie between steps, replicas and micro-batches.
    Where `logits_left_out` allows it, the logits of a batch are never there as a whole.
    """

    quantised = False  # in 8-bit integers, for translating
    accumulate_steps = 1
    train_traces = 0
    compiled_shapes = frozenset()
    _kinds_of_metrics = frozenset()
    _jit_as_given = "auto"
    _gradient_norm = None

    def compile(self, *args, accumulate_steps=1, log_gradient_norm=False, **kwargs):
        """`keras.Model.compile` with two more options.

        `jit_compile="auto"`, the default, is Keras' own choice, which agrees with what was measured: on processors
        nothing is compiled, where XLA trained `multi30k_tiny` no faster (8,364 target tokens/s against 9,477 on two
        cores) in more memory (1,719 MiB against 1,316); under a `tf.distribute` strategy neither; on one GPU, and on
        JAX, the step is. XLA compiles anew for each shape of a batch: `train_compilations` counts them.

        Args:
            accumulate_steps: k. The rows of each replica's batch are split into k micro-batches, one
                forward and backward pass after the other, in the memory of one; their gradients are
                added for one update. Optimizer, schedule and callbacks count updates. The loss must be
                a `LabelSmoothedCrossEntropy`, which divides by the tokens of the whole step.
            log_gradient_norm: log `gradient_norm`, the mean over updates of the norm of all gradients
                together, before any clipping. Updates that loss scaling skips are left out. On several
                replicas it costs a second reduction of the gradients.

        Raises:
            ValueError: an `accumulate_steps` that is no whole number of at least 1, or with another
                loss; `jit_compile=True` on several replicas; a quantised model. While training, rows that
                `accumulate_steps` does not divide.
        """
        if self.quantised:
            raise ValueError("a model in 8-bit integers cannot be trained. Train it before `quantize`.")
        if isinstance(accumulate_steps, bool) or not hasattr(accumulate_steps, "__index__") or accumulate_steps < 1:
            raise ValueError(f"accumulate_steps must be a whole number of at least 1, got {accumulate_steps!r}.")
        if kwargs.get("jit_compile") is True and num_replicas() > 1:
            raise ValueError(
                f"jit_compile=True needs one replica, got a strategy of {num_replicas()}: Keras would compile the "
                "step of all replicas for one device. Leave jit_compile out."
            )
        super().compile(*args, **kwargs)
        if accumulate_steps > 1 and not isinstance(self.loss, LabelSmoothedCrossEntropy):
            raise ValueError(
                f"accumulate_steps={accumulate_steps} needs a loss that divides by the tokens of the whole step, "
                f"LabelSmoothedCrossEntropy, got {self.loss!r}."
            )
        given = inspect.signature(super().compile).bind(*args, **kwargs).arguments
        metrics = [given.get("metrics"), given.get("weighted_metrics")]
        if metrics != [None, None]:  # else Keras keeps those of the last time
            self._kinds_of_metrics = frozenset(type(each) for each in keras.tree.flatten(metrics) if each is not None)
        self._jit_as_given = given.get("jit_compile", "auto")
        backend_step().prepare(self.optimizer)
        self.accumulate_steps = operator.index(accumulate_steps)
        self.train_traces, self.compiled_shapes = 0, set()
        if self._gradient_norm is not None:
            del self._gradient_norm
        if log_gradient_norm:
            self._gradient_norm = keras.metrics.Mean(name="gradient_norm")

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["accumulate_steps"] = self.accumulate_steps
            config["log_gradient_norm"] = self._gradient_norm is not None
            config["jit_compile"] = self._jit_as_given  # Keras' is what "auto" came to on this machine
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def loss_tracker(self):
        """The metric behind the logged `loss`."""
        return next(metric for metric in self.metrics if metric.name == "loss")

    def step_tokens(self, labels):
        """What the loss of a step is divided by; None if the loss does not count tokens."""
        return step_tokens(labels) if isinstance(self.loss, LabelSmoothedCrossEntropy) else None

    def logits_left_out(self, sample_weight, training):
        """A context in which the output map is left to the loss, which then maps a chunk of tokens at a time.

        Loss and metrics must be ours and see to all of it: otherwise the context does nothing, and the model gives
        logits. So it is in float16, too, whose range is too small for gradients that are not scaled yet.
        """
        ours = (
            type(self.loss) is LabelSmoothedCrossEntropy
            and self._kinds_of_metrics <= {MaskedAccuracy, Perplexity}
            and type(self).compute_loss is keras.Model.compute_loss
            and type(self).compute_metrics is keras.Model.compute_metrics
        )
        if not ours or sample_weight is not None or self.compute_dtype == "float16":
            return contextlib.nullcontext()
        hits = MaskedAccuracy in self._kinds_of_metrics
        return logits_left_to(OutputMap(*self.output_variables, self.compute_dtype, training, hits))

    @property
    def train_compilations(self):
        """For how many shapes of batches XLA has compiled the training step; 0 if it is not compiled.

        A `parallel_corpus` has at most `num_shapes`, so that no later epoch adds one.
        """
        if not self.jit_compile:
            return 0
        return self.train_traces if keras.backend.backend() == "jax" else len(self.compiled_shapes)

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit`, with clear errors for what TensorFlow says at length.

        Raises:
            ValueError: rows that `accumulate_steps` does not divide.
            RuntimeError: another worker of a `workers_strategy` has gone.
        """
        position = getattr(x, "position", None)  # of a `parallel_corpus`
        try:
            with backend_step().clear_errors(self):
                return super().fit(backend_step().watched(self, x), *args, **kwargs)
        finally:  # also where no callback hears of the end
            if hasattr(position, "held"):
                position.held = False

    def train_step(self, *arguments):
        return backend_step().train_step(self, *arguments)

    def test_step(self, *arguments):
        return backend_step().test_step(self, *arguments)

    @property
    def _loops_itself(self):
        """Whether several replicas take several steps an execution, in a graph: Keras' loop fails there."""
        several = keras.backend.backend() == "tensorflow" and self.steps_per_execution > 1 and not self.run_eagerly
        return several and self.distribute_strategy.num_replicas_in_sync > 1

    def make_train_function(self, force=False):
        if not self._loops_itself:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = backend_step().several_steps(self, self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        if not self._loops_itself:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = backend_step().several_steps(self, self.test_step)
        return self.test_function

    def _get_metrics_result_or_logs(self, logs):
        """The metrics over all replicas; in tests without the gradient's norm."""
        results = self.get_metrics_result()
        return {name: results.get(name, value) for name, value in logs.items()}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Build metrics and optimizer for a strategy from the shapes of the model's inputs.

        Keras would draw a batch for them. That would start the dataset's first epoch twice, and so
        shuffle it unlike the epoch of a single replica; and it fails for batches of integers on several
        machines.
        """
        check_strategy(self.distribute_strategy)
        if data_batch is None:
            data_batch = (self.input, keras.KerasTensor((None, None), "int32"))
        super()._maybe_symbolic_build(data_batch=data_batch)


def backend_step():
    """The module that writes the step for Keras' backend."""
    if keras.backend.backend() == "jax":
        from keras_transformer.train_step import jax_step

        return jax_step
    from keras_transformer.train_step import tensorflow_step

    return tensorflow_step
