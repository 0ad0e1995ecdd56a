"""Which loss a step computes, and from what: from decoder vectors, from logits, or with a teacher."""

from keras_transformer.backend import compat
from keras_transformer.losses.distillation import WordLevelDistillation
from keras_transformer.losses.label_smoothing import LabelSmoothedCrossEntropy, count_tokens
from keras_transformer.train_step import compile_checks, fused, settings


class StepLosses:
    """The part of `TokenTraining` that knows the losses of a step."""

    def count_tokens(self, labels):
        """The number of target tokens of a step, on all replicas; None if the loss does not count tokens."""
        return count_tokens(labels) if isinstance(self.loss, LabelSmoothedCrossEntropy) else None

    def takes_fused_way(self, sample_weight):
        """Whether a step computes the loss from decoder vectors. If not, the log says why, once for each `compile`."""
        if isinstance(self.loss, WordLevelDistillation):  # it needs the logits, as its documentation says
            return False
        reason = fused.reason_for_logits(self, sample_weight)
        if reason is not None:
            settings.warn_once(self, reason, fused.warning_of(reason))
        return reason is None

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss of a step from logits. Word-level distillation gets the inputs too, for the teacher."""
        if not isinstance(self.loss, WordLevelDistillation):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        loss = self.loss.of_logits(y, y_pred, count_tokens(y), sample_weight, x)
        return fused.with_additional_losses(self, loss)

    def check_loss(self):
        """Refuse a step without any loss.

        Raises:
            ValueError: `compile` was given no loss, and no layer adds one.
        """
        if self.loss is None and not self.losses:
            raise ValueError(compile_checks.NO_LOSS)

    def check_additional_loss(self):
        """Refuse losses of `add_loss` and regularizers where each micro-batch would add them.

        Raises:
            ValueError: `accumulate_steps` is more than 1.
        """
        if self.accumulate_steps > 1:
            raise compat.in_one_line(
                ValueError(
                    f"accumulate_steps={self.accumulate_steps} cannot be combined with regularizers and add_loss: they "
                    f"would count {self.accumulate_steps} times."
                )
            )
