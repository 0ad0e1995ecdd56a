"""Learning rates: the paper's, section 5.3, and one that falls to zero at the end of a run."""

import logging
from typing import Any, Self

import keras
from keras import ops

from keras_transformer.inputs.numbers import positive, whole
from keras_transformer.inputs.options import refuses_unknown

HIGHEST_RATE = 0.02  # Adam rarely trains a Transformer above it
SCHEDULES = ("paper", "cosine")
LOWEST_RATE = 1e-6  # as the highest of a run: the weights would hardly move

logger = logging.getLogger("keras_transformer")


@keras.saving.register_keras_serializable(package="keras_transformer")
class TransformerSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """scale · d_model^-0.5 · min(step^-0.5, step · warmup_steps^-1.5), equation 3.

    The rate rises linearly for `warmup_steps` updates, then falls with the inverse square root of the step. Steps count
    from 1, as in the paper. Keras calls the schedule with 0 for the first update.

    Example:
        ```python
        import keras
        from keras_transformer import TransformerSchedule

        paper = TransformerSchedule(d_model=512)  # highest at step 4000
        recipe = TransformerSchedule.with_peak(1e-3, d_model=256, warmup_steps=600)
        optimizer = keras.optimizers.Adam(recipe, beta_2=0.98, epsilon=1e-9)
        assert abs(float(recipe(599)) - 1e-3) < 1e-9
        ```

    Args:
        d_model: D.
        warmup_steps: the updates until the highest rate; the paper uses 4000.
        scale: a factor, 1 in the paper. `TransformerSchedule.with_peak` finds the factor for a highest rate.

    The log warns if the highest rate is so high that Adam rarely trains, or so low that the weights hardly move.

    Raises:
        ValueError: `d_model` or `warmup_steps` is not a whole number of at least 1, or `scale` is not a finite number
            above 0.
    """

    @refuses_unknown()
    def __init__(self, d_model: int, warmup_steps: int = 4000, scale: float = 1.0) -> None:
        super().__init__()
        self.d_model = whole("d_model", d_model)
        self.warmup_steps = whole("warmup_steps", warmup_steps)
        self.scale = positive("scale", scale)
        if not LOWEST_RATE <= self.peak <= HIGHEST_RATE:
            logger.warning(
                "The highest rate of TransformerSchedule(d_model=%d, warmup_steps=%d, scale=%.3g) is %.2g, at step %d. "
                "Rates between 0.0001 and 0.005 are usual; the paper's highest is 0.0007. "
                "TransformerSchedule.with_peak(0.001, d_model, warmup_steps) has the highest rate that you name.",
                *(self.d_model, self.warmup_steps, self.scale, self.peak, self.warmup_steps),
            )

    @property
    def peak(self) -> float:
        """The highest rate, that of step `warmup_steps`."""
        return self.scale * (self.d_model * self.warmup_steps) ** -0.5

    @classmethod
    def with_peak(cls, peak: float, d_model: int, warmup_steps: int = 4000) -> Self:
        """The schedule whose highest rate, at `warmup_steps`, is `peak`. Recipes of fairseq are written in this way."""
        d_model, warmup_steps = whole("d_model", d_model), whole("warmup_steps", warmup_steps)
        return cls(d_model, warmup_steps, scale=positive("peak", peak) * (d_model * warmup_steps) ** 0.5)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32") + 1.0
        return self.scale * self.d_model**-0.5 * ops.minimum(ops.rsqrt(step), step * self.warmup_steps**-1.5)

    def get_config(self):
        return {"d_model": self.d_model, "warmup_steps": self.warmup_steps, "scale": self.scale}


def named_schedule(name, peak, d_model, warmup_steps, updates):
    """A schedule that rises linearly to its highest rate, and then falls.

    Example:
        ```python
        from keras_transformer.schedules import named_schedule

        rate = named_schedule("cosine", peak=1e-3, d_model=256, warmup_steps=600, updates=3000)
        assert float(rate(3000)) == 0
        ```

    Args:
        name: "paper" falls with the inverse square root of the step, as `TransformerSchedule.with_peak` does.
            "cosine" falls along half a cosine, and is 0 after `updates` steps (Loshchilov and Hutter 2017).
        peak: float, the highest rate.
        d_model: D.
        warmup_steps: int, the updates until the highest rate.
        updates: int, the updates of the whole run.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        ValueError: an unknown name, or a number out of range.
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}.")
    if name == "paper":
        return TransformerSchedule.with_peak(peak, d_model, warmup_steps)
    peak, warmup_steps = positive("peak", peak), whole("warmup_steps", warmup_steps)
    decay = max(whole("updates", updates) - warmup_steps, 1)
    return keras.optimizers.schedules.CosineDecay(0.0, decay, warmup_target=peak, warmup_steps=warmup_steps)
