"""The models in ONNX Runtime and LiteRT, with dynamic shapes. The programs are those of docs/guides/portable.md."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_transformer import Transformer

for module in ("onnx", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(module, reason="the extra portable is not installed")
# Keras' own repair of tf2onnx asks NumPy for a name that it no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "portable.md"
SIZES = {"num_encoder_layers": 1, "num_decoder_layers": 1, "d_model": 12, "num_heads": 3, "d_ff": 7}
MODELS = {
    "paper": {},
    "other": {
        **{"positions": "learned", "max_length": 13, "norm": "pre", "use_bias": True, "d_k": 5, "d_v": 2},
        **{"tie_embeddings": "none", "output_bias": True, "activation": "silu", "window": 3},
    },
}
SHAPES = [(2, 5, 4), (1, 1, 1), (3, 9, 7)]  # B, S, T


def run_page(folder, monkeypatch):
    """Run the programs of the page. Returns what they define."""
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    defined = {}
    for program in programs:
        exec(program, defined)
    return defined


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return lambda **inputs: session.run(None, inputs)[0]


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner()
    return lambda **inputs: next(iter(run(**inputs).values()))


def batch(rows, source_length, target_length):
    rng = np.random.default_rng(rows)
    source = rng.integers(4, 23, (rows, source_length)).astype("int32")
    source[0, source_length // 2 + 1 :] = 0
    return source, rng.integers(4, 23, (rows, target_length)).astype("int32")


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_they_give_the_logits_of_the_model(changes, tmp_path, monkeypatch):
    (tmp_path / "runs" / "en_de").mkdir(parents=True)
    Transformer(vocabulary_size=23, **SIZES, **changes).save(tmp_path / "runs" / "en_de" / "model.keras")
    model = run_page(tmp_path, monkeypatch)["model"]
    for suffix, load in ((".onnx", onnx), (".tflite", litert)):
        whole, encode, step = (load(tmp_path / f"{name}{suffix}") for name in ("model", "encoder", "step"))
        for shape in SHAPES:
            source, target = batch(*shape)
            expected = keras.ops.convert_to_numpy(model({"source": source, "target": target}))
            np.testing.assert_allclose(whole(source=source, target=target), expected, atol=1e-4)
            memory = encode(source=source)
            for t in range(shape[2]):
                logits = step(memory=memory, source=source, target=target[:, : t + 1])
                np.testing.assert_allclose(logits[:, 0], expected[:, t], atol=1e-4)
