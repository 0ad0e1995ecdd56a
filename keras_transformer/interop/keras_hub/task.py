"""A `Transformer` as a task of keras-hub: strings in, strings out, with keras-hub's samplers."""

import keras
import keras_hub
from keras import ops

from keras_transformer.backend.kernels import at_most, tensorflow_backend
from keras_transformer.ids import END
from keras_transformer.interop.keras_hub.backbone import TransformerBackbone, masked
from keras_transformer.interop.keras_hub.preprocessor import TransformerSeq2SeqLMPreprocessor
from keras_transformer.interop.keras_hub.steps import Steps
from keras_transformer.model import output_logits


@keras.saving.register_keras_serializable(package="keras_transformer")
class TransformerSeq2SeqLM(keras_hub.models.Seq2SeqLM):
    """A `Transformer` and its tokenizer as a `keras_hub.models.Seq2SeqLM`. `as_task` makes one.

    `generate`, `fit`, `save_to_preset` and the rest are keras-hub's own. `compile(sampler=...)` takes "greedy", "beam",
    "top_k", "top_p", "random", "contrastive", or a sampler of `keras_hub.samplers`. Decoding is cached, with the
    layers of the model. The strings of the greedy sampler are those of `Translator(model, tokenizer, beam_size=1)`. The
    beam of keras-hub has no length penalty: it prefers shorter translations than `Translator`.

    PAD and START are never generated. A row that has reached END stays as it is, so a beam keeps its score. A blank
    text has an empty translation.

    After `import keras_transformer.interop.keras_hub`, `keras_hub.models.Seq2SeqLM.from_preset(address)` reads a folder
    that `save_to_preset(folder)` wrote, `hf://user/model`, or `kaggle://user/model/keras/variation`. The last two need
    the network. On JAX, `generate` works too: tokenizing needs TensorFlow, but not as Keras' backend.

    Example:
        ```python
        import keras_hub
        from keras_transformer import Tokenizer, Transformer
        from keras_transformer.interop.keras_hub import as_task

        tokenizer = Tokenizer.train(["one two three", "four five six"], vocabulary_size=280)
        task = as_task(Transformer.from_preset("quickstart", vocabulary_size=280), tokenizer, max_extra_length=5)
        task.compile(sampler=keras_hub.samplers.BeamSampler(num_beams=2))
        print(task.generate(["one two", "three"]))  # not trained
        ```

    Args:
        backbone: a `TransformerBackbone`.
        preprocessor: a `TransformerSeq2SeqLMPreprocessor`, or None to give and get ids.
        **options: of `keras_hub.models.Task`.

    Raises:
        ValueError: in `compile`, a sampler that gives all beams.
    """

    backbone_cls = TransformerBackbone
    preprocessor_cls = TransformerSeq2SeqLMPreprocessor

    def __init__(self, backbone, preprocessor=None, **options):
        self.backbone, self.preprocessor = backbone, preprocessor
        self._compiled_of = None  # the paths of the weights that `generate_function` knows
        outputs = output_logits(backbone.transformer, backbone(backbone.input)["decoder_sequence_output"])
        super().__init__(inputs=backbone.input, outputs=outputs, **options)

    def compile(self, optimizer="auto", loss="auto", *, weighted_metrics="auto", sampler="greedy", **options):
        """As of `keras_hub.models.CausalLM`, whose sampler is "top_k" by default: a translation is not drawn by chance.

        Raises:
            ValueError: a sampler that gives all beams.
        """
        if getattr(sampler, "return_all_beams", False):
            raise ValueError("sampler has return_all_beams=True, and generate gives one text. Use Translator.n_best.")
        super().compile(optimizer, loss, weighted_metrics=weighted_metrics, sampler=sampler, **options)

    def get_compile_config(self):
        config = super().get_compile_config()
        built = getattr(self.optimizer, "built", False)  # before the first step a file lacks the optimizer's variables
        sampler = keras_hub.samplers.serialize(self.sampler)
        return {**config, "sampler": sampler, "optimizer_built": built} if config else config

    def compile_from_config(self, config):
        built = config["optimizer_built"]
        sampler = keras_hub.samplers.get(config["sampler"])
        config = {name: value for name, value in config.items() if name not in ("optimizer_built", "sampler")}
        self.compile(**keras.saving.deserialize_keras_object(config), sampler=sampler)
        if built:
            self.optimizer.build(self.trainable_variables)

    def make_generate_function(self):
        """The compiled `generate_step`. On TensorFlow, one graph serves all shapes.

        It is compiled again when the model has got other weights, as by `enable_lora`.
        """
        tf, present = tensorflow_backend(), tuple(variable.path for variable in self.weights)
        if self._compiled_of != present:
            self.generate_function, self._compiled_of = None, present
        if self.generate_function is None and tf is not None and not self.run_eagerly:
            self.generate_function = self._graphs(tf)
        return super().make_generate_function()

    def _graphs(self, tf):
        """`generate_step` as TensorFlow graphs, one for each set of inputs and of ids that end a row.

        XLA does not compile them: it would for each shape, and it lacks the op that writes to the caches in place.
        """
        graphs = {}

        def generate(inputs, stop_token_ids=None):
            inputs = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
            stop = None if stop_token_ids is None else tuple(stop_token_ids)
            key = (stop, *sorted((name, value.dtype.name) for name, value in inputs.items()))
            if key not in graphs:
                specs = {name: tf.TensorSpec([None] * len(x.shape), x.dtype) for name, x in inputs.items()}
                options = {"input_signature": [specs], "autograph": False, "jit_compile": False}
                step = tf.function(lambda inputs: self.generate_step(inputs, stop), **options)
                graphs[key] = step.get_concrete_function()
            return graphs[key](inputs)

        return generate

    def generate_step(self, inputs, stop_token_ids=None):
        """Generate for one batch.

        Args:
            inputs: the model's inputs, where the decoder's rows have room for what is generated. Also, if there,
                "decoder_limits" (B,), the most tokens after START.
            stop_token_ids: ids that end a row. None generates until END, which always ends a row.

        Returns:
            A dictionary of "decoder_token_ids" and "decoder_padding_mask", (B, T).
        """
        prompt, given = ops.cast(inputs["decoder_token_ids"], "int32"), ops.cast(inputs["decoder_padding_mask"], "bool")
        transformer, room = self.backbone.transformer, ops.shape(prompt)[1]
        if (most := transformer.input_limits["target"].longest) is not None:
            room = at_most(room, most, "learned positions of the model: generate(..., max_length=...) sets the length")
        stop = tuple(stop_token_ids or (END,))
        limits = inputs.get("decoder_limits", ops.zeros_like(prompt[:, 0]) + room - 1)
        steps = Steps(transformer)
        source = masked(inputs["encoder_token_ids"], inputs["encoder_padding_mask"])
        index = ops.min(ops.sum(ops.cast(given, "int32"), axis=1))  # the first place that some row has not been given
        vectors, cache = steps.read_prompt(prompt, steps.start(source, ops.cast(limits, "int32"), room), index)
        ids = self.sampler(
            next=steps.step,
            prompt=prompt,
            cache=cache,
            index=index,
            mask=given,
            stop_token_ids=stop,
            hidden_states=vectors,
            model=self,
        )
        return {"decoder_token_ids": ids, "decoder_padding_mask": self._mask(ids, given, limits, stop)}

    @staticmethod
    def _mask(ids, given, limits, stop):
        """True at the tokens of each row up to the first that ends it, or up to its limit: (B, T) bool."""
        ends = ops.any(ops.stack([ops.equal(ids, token) for token in stop]), axis=0)
        ends = ops.cast(ops.logical_and(ends, ops.logical_not(given)), "int32")
        before = ops.equal(ops.cumsum(ends, axis=1) - ends, 0)
        within = ops.arange(ops.shape(ids)[1], dtype="int32") <= ops.cast(limits, "int32")[:, None]
        return ops.logical_or(given, ops.logical_and(before, within))
