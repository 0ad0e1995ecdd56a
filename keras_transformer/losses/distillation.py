"""Word-level knowledge distillation: a student learns a teacher's probabilities of each piece."""

from typing import Any

import keras
from keras import ops

from keras_transformer.inputs.kinds import shown
from keras_transformer.inputs.numbers import share
from keras_transformer.inputs.options import refuses_unknown
from keras_transformer.losses.label_smoothing import OF_KERAS, LabelSmoothedCrossEntropy, mean_weights


@keras.saving.register_keras_serializable(package="keras_transformer")
class WordLevelDistillation(LabelSmoothedCrossEntropy):
    """The loss of a student that learns from a teacher's probabilities and from the labels.

    For each target token it is (1-λ)·L + λ·Σ_k -q_k log p_k. L is the label-smoothed cross-entropy, p are the student's
    probabilities, and q are the teacher's, given the same source and the same target before the token (Kim and Rush
    2016, "Sequence-Level Knowledge Distillation", section 3.1). Several teachers give the mean of their probabilities.
    As with `LabelSmoothedCrossEntropy`, the sum over tokens is divided by the number of target tokens of a whole step,
    on all replicas and in all micro-batches together.

    The teacher must know the same pieces by the same ids. It computes without dropout and gets no gradient. Its logits
    and the student's exist as a whole, (B, T, V) each. A saved student does not contain the teacher, so a student that
    was loaded must be compiled again before it trains on.

    Example:
        ```python
        import numpy as np
        from keras_transformer import Transformer
        from keras_transformer.losses import WordLevelDistillation

        teacher, student = (
            Transformer(vocabulary_size=16, num_encoder_layers=n, num_decoder_layers=n, d_model=8, num_heads=2, d_ff=16)
            for n in (2, 1)
        )
        student.compile("adam", loss=WordLevelDistillation(teacher, weight=0.5))
        source, target, labels = np.array([[5, 3]]), np.array([[2, 7]]), np.array([[7, 3]])
        student.fit((source, target), labels, verbose=0)
        ```

    Args:
        teacher: a model of ids to logits, such as a `Transformer`, or a list of them.
        weight: λ, between 0 (the labels only) and 1 (the teacher only). Kim and Rush use 0.5.
        epsilon: ε of the label smoothing.

    Returns:
        A float32 scalar, in nats. With λ = 1 its minimum is the entropy of the teacher's probabilities, not 0.

    Raises:
        TypeError: a teacher that is no Keras model.
        ValueError: a `weight` outside [0, 1], or an `epsilon` outside [0, 1). In `compile`: a teacher with another
            vocabulary, or without as many positions as the student. In training: a call without the model's inputs,
            or a loss that was loaded.
    """

    @refuses_unknown(more=OF_KERAS)
    def __init__(
        self,
        teacher: Any,
        weight: float = 0.5,
        epsilon: float = 0.1,
        name: str = "word_level_distillation",
        **kwargs: Any,
    ) -> None:
        super().__init__(epsilon, name=name, **kwargs)
        self.weight = share("weight", weight)
        self.teachers = Teachers(teacher if isinstance(teacher, list | tuple) else [teacher])

    def call(self, y_true, y_pred):
        raise ValueError(
            "WordLevelDistillation needs the inputs of the model, for the teacher. Give it to compile of a Transformer "
            "as loss=..., by itself."
        )

    def of_logits(self, labels, logits, divisor, sample_weight=None, inputs=None):
        """The loss of a (micro-)batch with a given divisor. See `LabelSmoothedCrossEntropy.of_logits`.

        Args:
            inputs: the model's inputs, from which the teacher computes.
        """
        by_labels = super().of_logits(labels, logits, divisor, sample_weight)
        probabilities = self.teachers.probabilities(inputs)
        losses = ops.categorical_crossentropy(probabilities, ops.cast(logits, "float32"), from_logits=True)
        by_teacher = ops.sum(losses * mean_weights(labels, divisor, sample_weight))
        return (1 - self.weight) * by_labels + self.weight * by_teacher

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}

    @classmethod
    def from_config(cls, config):
        return cls([], **config)


class Teachers:
    """The models that a student learns from. This is no Keras object, so Keras does not save them with the student.

    Args:
        models: a list of models of ids to logits. It is empty in a loss that was loaded.

    Raises:
        TypeError: one of them is no Keras model.
    """

    def __init__(self, models):
        for number, model in enumerate(models):
            if not isinstance(model, keras.Model):
                raise TypeError(
                    f"teacher{f'[{number}]' if len(models) > 1 else ''} must be a Keras model, such as a Transformer, "
                    f"got {shown(model)}. The model of a Translator is translator.model."
                )
        self.models = list(models)

    def check(self, limits):
        """Compare the teachers with the student.

        Args:
            limits: `input_limits` of the student.

        Raises:
            ValueError: another number of pieces, or positions that end before the student's.
        """
        for number, teacher in enumerate(self.models):
            name = f"teacher{f'[{number}]' if len(self.models) > 1 else ''}"
            for side, of_teacher in getattr(teacher, "input_limits", {}).items():
                own = limits[side]
                if own.size != of_teacher.size:
                    raise ValueError(
                        f"{name} has {of_teacher.size} {side} pieces and the student's {own.argument} is {own.size}. "
                        "They must have the same tokenizer."
                    )
                if of_teacher.longest is not None and (own.longest is None or own.longest > of_teacher.longest):
                    raise ValueError(
                        f"{name} has learned positions for max_length={of_teacher.longest}, and the student has "
                        f"{'positions for any length' if own.longest is None else f'max_length={own.longest}'}. Make "
                        f"the student with learned positions and max_length={of_teacher.longest} at most."
                    )

    def probabilities(self, inputs):
        """The mean of their probabilities of each piece: the model's inputs -> (B, T, V) float32, without a gradient.

        Raises:
            ValueError: there is no teacher.
        """
        if not self.models:
            raise ValueError(
                "the loss WordLevelDistillation was loaded from a file, which does not contain the teacher. Compile "
                "the model again, with loss=WordLevelDistillation(teacher)."
            )
        each = [ops.softmax(ops.cast(model(inputs, training=False), "float32")) for model in self.models]
        return ops.stop_gradient(sum(each) / len(each))
