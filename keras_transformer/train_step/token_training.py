"""The training of a model of ids to logits: exact over target tokens, for any number of replicas and micro-batches."""

import inspect
import operator
from typing import Any

import keras

from keras_transformer.backend import compat
from keras_transformer.backend.replicas import (
    check_scope,
    check_scope_of_fit,
    check_strategy,
    num_replicas,
    replicas_of,
)
from keras_transformer.inputs.numbers import whole
from keras_transformer.losses.label_smoothing import LabelSmoothedCrossEntropy
from keras_transformer.train_step import argument_kinds, compile_checks, data_checks, fused, settings
from keras_transformer.train_step.callbacks import check_whole_epochs, tell_of_interruption, with_check
from keras_transformer.train_step.data_checks import checked, one_line_errors
from keras_transformer.train_step.one_tokenizer import check_one_tokenizer
from keras_transformer.train_step.step_losses import StepLosses


class TokenTraining(StepLosses, compat.TrainerHooks, keras.Model):
    """A model of ids to logits whose training counts target tokens, not rows.

    With `LabelSmoothedCrossEntropy` the logged `loss` is, like our metrics, a sum over all target tokens of an epoch
    divided by their number. It does not depend on how the rows are distributed over steps, replicas and micro-batches.

    A subclass has the method `decoder_vectors(inputs, training=None)`, which gives the vectors (B, T, D) before the
    output map, and the property `output_variables`, the matrix (V, D) and the bias (V,) or None of that map. Its
    `input_limits` hold the `Limits` of "source" and "target"; without them no data are checked. `has_one_vocabulary`
    says that the same ids are the same pieces on both sides.
    """

    trains_on_tokens = True
    input_limits = {}
    has_one_vocabulary = False
    reason_against_vectors = None  # why the output map must be called, in words
    quantized = False  # its matrices are 8-bit integers, for translating only
    accumulate_steps = 1
    train_traces = 0
    compiled_shapes = frozenset()
    kinds_of_metrics = frozenset()
    has_loss_weights = False
    _jit_as_given = "auto"
    _gradient_norm = None
    logged = frozenset()

    def compile(self, *args: Any, accumulate_steps: int = 1, log_gradient_norm: bool = False, **kwargs: Any) -> None:
        """`keras.Model.compile` with two more options.

        `jit_compile="auto"`, the default, leaves the choice to Keras. It compiles on one GPU and on JAX. On processors
        and under a `tf.distribute` strategy it does not compile. XLA compiles anew for each shape of a batch:
        `train_compilations` counts them.

        Args:
            accumulate_steps: k. The rows of each replica's batch are split into k micro-batches. They are computed one
                after the other, in the memory of one, and their gradients are added for one update. Optimizer,
                schedule and callbacks count updates. The loss must be a `LabelSmoothedCrossEntropy`, which divides by
                the tokens of the whole step.
            log_gradient_norm: log `gradient_norm`, the mean over updates of the norm of all gradients together, before
                any clipping. Updates that loss scaling skips do not count. On several replicas it costs a second
                reduction of the gradients.

        Raises:
            TypeError: a class in place of an object, or an optimizer, a loss or a metric that is none.
            ValueError: an unknown name; a loss or a metric of Keras that cannot work with logits and labels of one id
                a position; an `accumulate_steps` that is not a whole number of at least 1, or that comes with another
                loss; or on several replicas with a subclass of it, `loss_weights` or a `compute_loss` of your own;
                `jit_compile=True` on several replicas; a quantized model; a model or an optimizer that was made in
                another scope of `tf.distribute`; a strategy over devices that are not there. In training, a number of
                rows that `accumulate_steps` does not divide.
        """
        given = inspect.signature(super().compile).bind(*args, **kwargs).arguments
        self._check_compile(given, accumulate_steps)
        step = backend_step()
        if self._gradient_norm is not None:
            compat.forget_metric(self, self._gradient_norm)
            self._gradient_norm = None
        super().compile(*args, **kwargs)
        compat.set_loss_tracker(self, keras.metrics.Mean(name="loss", dtype="float32"))
        check_scope(self)
        metrics = [given.get("metrics"), given.get("weighted_metrics")]
        if metrics != [None, None]:  # else Keras keeps the metrics of the last `compile`
            metrics = [each for each in keras.tree.flatten(metrics) if each is not None]
            self.kinds_of_metrics = frozenset(map(type, metrics))
        self.has_loss_weights = given.get("loss_weights") is not None
        self._jit_as_given = given.get("jit_compile", "auto")
        step.prepare(self.optimizer)
        self.accumulate_steps = operator.index(accumulate_steps)
        self.train_traces, self.compiled_shapes, self.logged = 0, set(), set()
        settings.check_compiled(self, metrics)
        if log_gradient_norm:
            self._gradient_norm = keras.metrics.Mean(name="gradient_norm", dtype="float32")

    def _check_compile(self, given, accumulate_steps):
        """Refuse arguments of `compile` before anything is changed.

        Raises:
            ValueError: see `compile`.
        """
        if self.quantized:
            raise ValueError("a model in 8-bit integers cannot be trained. Train it before `quantize`.")
        whole("accumulate_steps", accumulate_steps)
        argument_kinds.check_compile(given)
        compile_checks.check_compile(self, given)
        if given.get("jit_compile") is True and num_replicas() > 1:
            raise ValueError(
                f"jit_compile=True needs one replica, got a strategy of {num_replicas()}: Keras would compile the "
                "step of all replicas for one device. Leave jit_compile out."
            )
        if accumulate_steps == 1:
            return
        loss = given.get("loss", self.loss)
        if not isinstance(loss, LabelSmoothedCrossEntropy):
            raise ValueError(
                f"accumulate_steps={accumulate_steps} needs a loss that divides by the tokens of the whole step, "
                f"LabelSmoothedCrossEntropy, got {loss!r}."
            )
        on_tensorflow = keras.backend.backend() == "tensorflow"
        has_weights = given.get("loss_weights") is not None
        if on_tensorflow and replicas_of(self) > 1 and fused.divides_by_itself(self, loss, has_weights):
            raise ValueError(
                f"accumulate_steps={accumulate_steps} on several replicas needs the loss LabelSmoothedCrossEntropy "
                "itself: no subclass of it, no loss_weights, and no compute_loss of your own. They count the tokens of "
                "a micro-batch, which TensorFlow cannot do there. Leave out accumulate_steps, or train on one replica."
            )

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["accumulate_steps"] = self.accumulate_steps
            config["log_gradient_norm"] = self._gradient_norm is not None
            config["jit_compile"] = self._jit_as_given  # Keras has resolved "auto" for this machine
            config["optimizer_built"] = getattr(
                self.optimizer, "built", False
            )  # before the first step the file lacks its variables
        return config

    def compile_from_config(self, config):
        built = config.get("optimizer_built", True)
        config = {name: value for name, value in config.items() if name != "optimizer_built"}
        self.compile(**keras.saving.deserialize_keras_object(config))
        if built:
            self.optimizer.build(self.trainable_variables)

    @property
    def loss_tracker(self):
        """The metric behind the logged `loss`."""
        return next(metric for metric in self.metrics if metric.name == "loss")

    @property
    def train_compilations(self):
        """For how many shapes of batches XLA has compiled the training step; 0 if it does not compile it.

        A `parallel_corpus` has at most `num_shapes` shapes, so that later epochs add none.
        """
        if not self.jit_compile:
            return 0
        return self.train_traces if keras.backend.backend() == "jax" else len(self.compiled_shapes)

    def fit(self, *args, **kwargs):
        """`keras.Model.fit`, which first compares the data and the schedule with the model.

        A corpus and arrays are checked before the first step. The batches of other data are checked as they are read,
        also where XLA compiles the step. Each error has one line.

        A callback with the method `on_interrupt(error)` hears of an exception that ends `fit`, KeyboardInterrupt too.

        Raises:
            ValueError: ids that the model does not know; padding before a token; labels of another shape than the
                target; a row that is longer than the model's learned positions; a corpus whose tokenizer has another
                number of pieces; validation data or a callback with another tokenizer;
                `class_weight`; a number of rows that `accumulate_steps` does not divide; a callback that watches a
                value which is not logged, or is logged by a later callback.
            RuntimeError: another worker of a `workers_strategy` has stopped.
        """
        argument_kinds.check_fit(self, inspect.signature(super().fit).bind(*args, **kwargs).arguments)
        check_scope_of_fit(self)
        given = self._given(super().fit, args, kwargs)
        data = given.get("x")
        if data_checks.shuffles_itself(data):  # Keras would warn that it cannot shuffle
            given.setdefault("shuffle", False)
        if given.get("validation_data") is not None:
            given["validation_data"] = self._checked_validation(given["validation_data"])
        check_one_tokenizer(self, given)
        check_whole_epochs(given)
        settings.check_labels(self, given)
        settings.check_schedule(self, given)
        position = getattr(data, "position", None)  # of a `parallel_corpus`
        given["x"] = backend_step().watched(self, given.get("x"))
        callbacks = given.get("callbacks")
        has_validation = given.get("validation_data") is not None or bool(given.get("validation_split"))
        given["callbacks"] = with_check(callbacks, has_validation)
        try:
            with one_line_errors(), backend_step().clear_errors(self):
                return super().fit(**given)
        except BaseException as error:  # KeyboardInterrupt too
            tell_of_interruption(callbacks, error)
            raise
        finally:  # no callback hears of the end if `fit` raises
            compat.start_at_epoch(self, None)
            self.train_function = getattr(self.train_function, "skipped", self.train_function)
            if hasattr(position, "held"):
                position.held = False

    def evaluate(self, *args, **kwargs):
        """`keras.Model.evaluate`, which checks the data as `fit` does."""
        if kwargs.get("_use_cached_eval_dataset"):  # `fit` has checked them
            return super().evaluate(*args, **kwargs)
        with one_line_errors():
            return super().evaluate(**self._given(super().evaluate, args, kwargs))

    def predict(self, *args, **kwargs):
        """`keras.Model.predict`, which checks the data as `fit` does."""
        with one_line_errors():
            return super().predict(**self._given(super().predict, args, kwargs))

    def train_on_batch(self, *args, **kwargs):
        """`keras.Model.train_on_batch`, which checks the data as `fit` does."""
        with backend_step().clear_errors(self):
            return super().train_on_batch(**self._given(super().train_on_batch, args, kwargs, one_batch=True))

    def test_on_batch(self, *args, **kwargs):
        """`keras.Model.test_on_batch`, which checks the data as `fit` does."""
        return super().test_on_batch(**self._given(super().test_on_batch, args, kwargs, one_batch=True))

    def _given(self, method, args, kwargs, one_batch=False):
        """The arguments of a call of Keras' `method`, by name, with checked data: of `one_batch`, or of any kind.

        Raises:
            ValueError: see `fit`.
        """
        bound = inspect.signature(method).bind(*args, **kwargs).arguments
        given = {**bound, **bound.pop("kwargs", {})}
        if given.get("class_weight") is not None:
            raise ValueError(
                "class_weight must be None: the labels are a token each, and Keras would weigh whole sentences. "
                "Weigh tokens by their piece with sample_weight=weights[labels], an array of the labels' shape."
            )
        if self.input_limits:
            argument_kinds.check_numbers(given)
            if one_batch:
                argument_kinds.check_batch(given.get("x"))
        if "y" in inspect.signature(method).parameters and self.input_limits:
            argument_kinds.check_compiled(self)
            argument_kinds.check_labels(given.get("x"), given.get("y"), outputs=self._num_outputs)
            compile_checks.check_loss(self)
        given["x"] = checked(self, given.get("x"), given.get("y"), "x", given.get("sample_weight"))
        return given

    def _checked_validation(self, data):
        """The `validation_data` of `fit`, checked as `x` is."""
        name = "validation_data"
        x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(data) if isinstance(data, list) else data)
        if self.input_limits:
            argument_kinds.check_labels(x, y, name, self._num_outputs)
        x = checked(self, x, y, name, weights)
        return (x, *data[1:]) if isinstance(data, (tuple, list)) else x

    @property
    def _num_outputs(self):
        """1, or None for a subclass that gives outputs of its own."""
        return None if fused.overrides(self, "call") else 1

    def unpack(self, data):
        """Inputs, labels and sample weights of a batch."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return x, y if self._num_outputs is None else data_checks.only_labels(y), sample_weight

    def train_step(self, *arguments):
        return backend_step().train_step(self, *arguments)

    def test_step(self, *arguments):
        return backend_step().test_step(self, *arguments)

    @property
    def _has_own_loop(self):
        """Whether several replicas take several steps an execution, in a graph. Keras' loop fails there."""
        several = keras.backend.backend() == "tensorflow" and self.steps_per_execution > 1 and not self.run_eagerly
        return several and self.distribute_strategy.num_replicas_in_sync > 1

    def make_train_function(self, force=False):
        if keras.backend.backend() == "tensorflow":
            backend_step().build_optimizer(self)
        if not self._has_own_loop:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = backend_step().several_steps(self, self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        if not self._has_own_loop:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = backend_step().several_steps(self, self.test_step)
        return self.test_function

    def logs_of(self, logs):
        """The `logs` of a step with the metrics' values over all replicas."""
        results = self.get_metrics_result()
        return {name: results.get(name, value) for name, value in logs.items()}

    def batch_to_build_from(self, data_batch):
        """The batch from which Keras builds metrics and optimizer: the one given, or the shapes of the model's inputs.

        Keras would draw a batch from the dataset. That would start the dataset's first epoch twice, so that its order
        would differ from that of a single replica. On several machines it fails for batches of integers.
        """
        check_strategy(self.distribute_strategy)
        if data_batch is None:
            data_batch = (self.input, keras.KerasTensor((None, None), "int32"))
        return data_batch


def backend_step():
    """The module that writes the step for Keras' backend.

    Raises:
        RuntimeError: another backend than TensorFlow and JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from keras_transformer.train_step import tensorflow_step

        return tensorflow_step
    if backend == "jax":
        from keras_transformer.train_step import jax_step

        return jax_step
    raise RuntimeError(
        f"training needs Keras' TensorFlow or JAX backend, and this process runs on {backend!r}. Set the environment "
        "variable KERAS_BACKEND to 'tensorflow' or 'jax' before Python starts."
    )
