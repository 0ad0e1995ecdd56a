"""The paper's learning rate, section 5.3."""

import keras
from keras import ops


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

    Raises:
        ValueError: an argument that is not positive.
    """

    def __init__(self, d_model, warmup_steps=4000, scale=1.0):
        super().__init__()
        for argument, value in {"d_model": d_model, "warmup_steps": warmup_steps, "scale": scale}.items():
            if value <= 0:
                raise ValueError(f"{argument} must be positive, got {value}.")
        self.d_model = d_model
        self.warmup_steps = warmup_steps
        self.scale = scale

    @classmethod
    def with_peak(cls, peak, d_model, warmup_steps=4000):
        """The schedule whose highest rate, at `warmup_steps`, is `peak`. Recipes of fairseq are written in this way."""
        return cls(d_model, warmup_steps, scale=peak * (d_model * warmup_steps) ** 0.5)

    def __call__(self, step):
        step = ops.cast(step, "float32") + 1.0
        return self.scale * self.d_model**-0.5 * ops.minimum(ops.rsqrt(step), step * self.warmup_steps**-1.5)

    def get_config(self):
        return {"d_model": self.d_model, "warmup_steps": self.warmup_steps, "scale": self.scale}
