"""Products in 8-bit integers are compared with NumPy and Keras. The quantized Transformer is tested, too."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops
from layer_contract import values
from processors import needs_vnni

from keras_transformer import Encoder, FeedForward, MultiHeadAttention, TokenEmbedding, Transformer
from keras_transformer.backend.int8 import SMALLEST, check_int8, int8_product
from keras_transformer.incremental import IncrementalDecoder
from keras_transformer.layers.projection import Projection

pytestmark = [pytest.mark.core, needs_vnni]

V, B, S, T = 307, 3, 7, 5


def quantized_weights(kernel):
    """Integers and scales. The largest integer of each column is 127."""
    scales = 127 / (np.abs(kernel).max(axis=0) + 1e-7)
    return np.round(kernel * scales).astype("int8"), scales.astype("float32")


def reference(x, integers, scales):
    """The product (R, K) · (K, N) in NumPy, with sums of 64 bits, and the largest error allowed for each element."""
    unit = (np.abs(x).max(axis=-1, keepdims=True) + np.float32(1e-7)) / np.float32(127)
    rows = np.floor(x * (np.float32(1) / unit) + np.float32(128.5)).astype("int64") - 128
    expected = rows @ integers.astype("int64") * unit / scales
    # The kernel adds 128 to each integer of a row, rounds the sums to float32 and subtracts the excess. After that,
    # it rounds the result three times.
    rounded = np.abs((rows + 128) @ integers.astype("int64")) * unit / scales
    return expected, 2**-23 * (rounded + 3 * np.abs(expected))


def fixed(array):
    """A variable that is not trained."""
    return keras.Variable(array, dtype=array.dtype.name, trainable=False)


def compiled(function):
    """`function` in a graph of the backend."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "torch":
        return function  # torch has no graphs
    import tensorflow as tf

    return tf.function(function, autograph=False)


@pytest.mark.parametrize("rows", [1, 7, 61])
@pytest.mark.parametrize("size", [31, 2048])
@pytest.mark.parametrize("in_graph", [False, True])
def test_a_product_is_exact_in_integers(rows, size, in_graph):
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, size)).astype("float32") * rng.uniform(0.01, 30, (rows, 1)).astype("float32")
    x[0] = np.abs(x[0]).max()  # all of them become 127: the largest sums that are possible
    kernel = rng.normal(size=(size, 37)).astype("float32")
    kernel[:, 0] = kernel[:, 1] = 2.5
    kernel[:, 1] *= -1
    kernel[:, 2] = 0
    integers, scales = quantized_weights(kernel)
    held = [fixed(integers), fixed(scales)]
    transposed = [fixed(integers.T), held[1]]
    call = compiled if in_graph else lambda function: function
    expected, lost = reference(x, integers, scales)
    for found in (
        call(lambda x: int8_product(x, *held))(x),
        call(lambda x: int8_product(x, *transposed, transposed=True))(x),
    ):
        assert (np.abs(values(found) - expected) <= lost).all()
    assert np.abs(expected - x @ kernel).max() < 0.02 * np.abs(expected).max()


def test_a_row_of_zeros_is_zero_and_nan_stays():
    held = [fixed(np.full((31, 3), 127, "int8")), fixed(np.ones(3, "float32"))]
    x = np.zeros((3, 31), "float32")
    x[1, 4] = np.nan
    x[2, 7] = 2.0
    found = values(int8_product(x, *held))
    np.testing.assert_array_equal(found[0], 0)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[2], 254, rtol=1e-6)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 31), (2, 3, 31)])
def test_a_projection_gives_what_keras_does(use_bias, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    pair = []
    for layer_class in (Projection, keras.layers.Dense):
        keras.utils.set_random_seed(1)
        layer = layer_class(37, "relu", use_bias, bias_initializer="ones")
        layer.build((None, 31))
        before = values(layer(x))
        layer.quantize("int8")
        pair.append(values(layer(x)))
        assert 0 < np.abs(pair[-1] - before).max() < 0.05
    np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-6)


def test_in_half_precision_scales_stay_in_float32():
    x = np.random.default_rng(0).normal(size=(3, 31)).astype("float32")
    found = []
    for dtype in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(1)
        layer = Projection(37, dtype=dtype)
        layer.build((None, 31))
        layer.quantize("int8")
        found.append(values(ops.cast(layer(ops.cast(ops.cast(x, "bfloat16"), layer.compute_dtype)), "float32")))
    # Integers and scales are the same. Only the result is rounded, to 8 bits.
    np.testing.assert_allclose(found[1], found[0], rtol=2**-8)


def make(**changes):
    keras.utils.set_random_seed(2)
    options = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 256, "num_heads": 4, "d_ff": 512}
    rng = np.random.default_rng(0)
    model = Transformer(**{"vocabulary_size": V, "dropout": 0.0, **options, **changes})
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta")):
            weight.assign(rng.normal(size=weight.shape) * 0.1)
    return model


rng = np.random.default_rng(0)
SOURCE, TARGET = rng.integers(4, V, (B, S)), rng.integers(4, V, (B, T))
SOURCE[1, 4:] = 0
INPUTS = {"source": SOURCE, "target": TARGET}
KINDS = [
    {},
    {"use_bias": True, "norm": "pre", "output_bias": True, "tie_embeddings": "none"},
    {"d_k": 128, "d_v": 32, "tie_embeddings": "target"},  # only queries and keys are large enough
    {"dtype": "mixed_bfloat16"},
]


@pytest.mark.parametrize("changes", KINDS)
def test_a_quantized_model_is_close_and_saved_small(changes, tmp_path):
    model = make(**changes)
    expected = values(model(INPUTS))
    model.save(tmp_path / "float.keras")
    model.quantize("int8")
    found = values(model(INPUTS))
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    model.save(tmp_path / "int8.keras")
    again = keras.saving.load_model(tmp_path / "int8.keras")
    assert again.quantized and again.get_config() == model.get_config()
    np.testing.assert_array_equal(values(again(INPUTS)), found)
    sizes = [(tmp_path / name).stat().st_size for name in ("int8.keras", "float.keras")]
    assert sizes[0] < 0.45 * sizes[1]


@pytest.mark.parametrize(("width", "changes"), [*zip([1, 2, 2, 1], KINDS, strict=True)])
def test_steps_give_the_logits_of_the_whole(changes, width):
    model = make(**changes)
    model.quantize("int8")

    decoder = IncrementalDecoder(model)

    def steps(source, target):
        state = decoder.start(model.encode(source), source, T, width)
        found = []
        for position in range(T):
            ids = ops.repeat(target[:, position : position + 1], width, axis=1)
            logits, state = decoder.step(ids, state)
            found.append(logits)
        return ops.stack(found, axis=2)  # (B, W, T, V)

    # A number that is rounded the other way moves by a whole unit: 1/127 of the largest number of its row.
    whole = values(compiled(lambda source, target: model({"source": source, "target": target}))(SOURCE, TARGET))
    found = values(compiled(steps)(ops.convert_to_tensor(SOURCE), ops.convert_to_tensor(TARGET)))
    for each in range(width):
        difference = np.abs(found[:, each] - whole)
        assert difference.max() < 0.02 * np.abs(whole).max()
        # In half precision, the logits are also rounded, to 2⁻⁹ of their size.
        assert np.median(difference) < (2**-8 * np.abs(whole).max() if "dtype" in changes else 1e-4)


def test_other_sentences_of_a_batch_change_nothing():
    model = make()
    model.quantize("int8")
    whole = values(model(INPUTS))
    for row in range(B):
        alone = values(model({"source": SOURCE[row : row + 1], "target": TARGET[row : row + 1]}))
        difference = np.abs(alone[0] - whole[row])
        assert np.median(difference) < 1e-4 and difference.max() < 0.02 * np.abs(whole).max()


def test_small_matrices_stay_in_floating_point():
    model = make(d_ff=SMALLEST // 256 - 1)
    model.quantize("int8")
    kernels = {weight.path: weight.dtype for weight in model.weights if weight.path.endswith("kernel")}
    stays = [f"{stack}/layer_0/feed_forward/inner/kernel" for stack in ("encoder", "decoder")]
    # The inner kernel has 256 · 255 weights and 255 biases: one too few. With its 256 biases, the outer one is large
    # enough.
    assert {path: dtype for path, dtype in kernels.items() if dtype != "int8"} == dict.fromkeys(stays, "float32")


def test_layers_by_themselves_are_quantized_too():
    x = np.random.default_rng(0).normal(size=(2, 3, 16)).astype("float32")
    for layer in (MultiHeadAttention(2), FeedForward(23), Encoder(1, num_heads=2, d_ff=23)):
        before = values(layer(x))
        for part in layer._flatten_layers():
            if isinstance(part, Projection):
                part.quantize("int8")
        assert 0 < np.abs(values(layer(x)) - before).max() < 0.1


def test_a_dtype_policy_quantizes():
    model = make(dtype="int8_from_mixed_bfloat16")
    assert model.quantized and model.compute_dtype == "bfloat16"
    assert model.get_config()["dtype"]["config"] == {"mode": "int8", "source_name": "mixed_bfloat16"}


@pytest.mark.trains
def test_arguments_and_models_that_are_refused():
    model = make()
    with pytest.raises(ValueError, match="can be quantized as 'int8' only, without other quantizers"):
        model.quantize("int4")
    own = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
    with pytest.raises(ValueError, match="without other quantizers"):
        model.quantize(config=own)
    with pytest.raises(ValueError, match="filters; got"):
        model.quantize("int8", filters="encoder")
    with pytest.raises(ValueError, match="no matrix of this model has 65,536 weights"):
        make(d_model=16, d_ff=16).quantize("int8")
    with pytest.raises(ValueError, match="variables in float32; those of this model are in bfloat16"):
        make(dtype="bfloat16").quantize("int8")
    weight = next(each for each in model.weights if each.path.endswith("key/kernel"))
    before = values(weight)
    weight.assign(np.where(np.arange(256) == 3, np.inf, before))
    with pytest.raises(ValueError, match="key/kernel is not finite"):
        model.quantize("int8")
    assert not model.quantized  # nothing has changed
    weight.assign(before)
    model.compile("adam")
    expected = model.predict(INPUTS, verbose=0)
    model.quantize("int8")
    found = model.predict(INPUTS, verbose=0)
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()  # the old graph is not used
    with pytest.raises(ValueError, match="quantized already"):
        model.quantize("int8")
    with pytest.raises(ValueError, match="cannot be trained"):
        model.compile("adam")
    with pytest.raises(ValueError, match="compile"):
        model.fit(INPUTS, TARGET, verbose=0)


def test_an_embedding_by_itself():
    layer = TokenEmbedding(V, 256)
    layer.build()
    expected = values(layer(TARGET))
    before = weakref.ref(layer.embeddings)
    with pytest.raises(NotImplementedError, match="can be quantized as 'int8'"):
        layer.quantize("float8")
    layer.quantize("int8")
    found = values(layer(TARGET))
    # The error of a weight is at most half of 1/127 of the largest weight of its row.
    assert (np.abs(found - expected) <= np.abs(expected).max(axis=-1, keepdims=True) / 253).all()
    np.testing.assert_array_equal(values(layer(TARGET.astype("float32"))), found)
    with pytest.raises(ValueError, match="already quantized"):
        layer.quantize("int8")
    gc.collect()
    assert before() is None


def test_the_old_weights_are_freed():
    model = make()
    before = [weakref.ref(weight) for weight in model.weights if weight.path.endswith("kernel")]
    model.quantize("int8")
    assert not any(each() for each in before)


def test_quantizing_collects_garbage_once_and_freezes_nothing(monkeypatch):
    """Keras would collect the garbage once for each variable that it deletes. That is slow in a large process."""
    model, collections, frozen = make(), [], gc.get_freeze_count()
    monkeypatch.setattr(gc, "collect", lambda *generation: collections.append(gc.get_freeze_count()))
    model.quantize("int8")
    assert collections == [frozen]


def test_this_machine_is_exact():
    check_int8()
