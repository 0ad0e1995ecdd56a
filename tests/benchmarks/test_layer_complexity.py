"""The layers of Table 1: exponents of known curves, counts by hand, and one tiny run of the whole script."""

import json

import layer_complexity
import layer_counts
import layer_kinds
import numpy as np
import pytest


def test_an_exponent_is_the_slope_of_the_logarithms():
    exact = [(n, 3 * n**2) for n in (2, 4, 8, 32)]
    assert layer_complexity.exponent(exact) == pytest.approx((2, 0), abs=1e-12)
    # Three points at log2 x = 0, 1, 2 with log2 y = 0, 2, 2: the slope is 1, the residuals are -1/3, 2/3 and -1/3, and
    # the variance of the slope is (6/9) / (3 - 2) / 2.
    slope, error = layer_complexity.exponent([(1, 1), (2, 4), (4, 4)])
    assert (slope, error) == pytest.approx((1, np.sqrt(1 / 3)))


def test_a_fit_leaves_out_what_is_small():
    least = layer_complexity.FROM_N
    curve = {"kind": layer_kinds.SELF, "varies": "n", "d": 64}
    figures = [f"{name}_{unit}" for name in layer_complexity.PASSES for unit in ("seconds", "mib")]
    curves = [curve | {"n": n} | dict.fromkeys(figures, n**2) for n in (least, 2 * least, 4 * least)]
    curves.append(curve | {"n": least // 2} | dict.fromkeys(figures, 10**9))
    found = layer_complexity.fitted(curves)
    assert [each["exponent"] for each in found] == pytest.approx([2] * 4)
    assert {(each["axis"], each["points"], each["theory"]) for each in found} == {("n", 3, 2)}


@pytest.mark.parametrize("kind", [*layer_kinds.KINDS, layer_counts.DILATED])
def test_the_longest_path_is_counted(kind):
    for n in (2, 9):
        found = layer_counts.longest_path(kind, n, window=5, kernel=3)
        assert found == layer_counts.expected_path(kind, n, 5, 3)[0]
    by_hand = {"self-attention": 1, "restricted": 4, "recurrent": 9, "convolutional": 8, layer_counts.DILATED: 2}
    assert found == by_hand[kind]  # 8 positions to go: 4 times 2, 8 times 1, or 2 and then 6


def test_only_a_recurrent_layer_has_longer_chains_for_longer_sequences():
    chains = {
        kind: [layer_counts.operations_in_sequence(kind, n, window=5, kernel=3) for n in (32, 64, 96)]
        for kind in layer_kinds.KINDS
    }
    for kind, (short, middle, long) in chains.items():
        assert middle - short == long - middle
        assert (long > short) == (kind == layer_kinds.RECURRENT)


@pytest.mark.parametrize("kind", [*layer_kinds.KINDS, layer_kinds.WHOLE, layer_kinds.WHOLE_RESTRICTED])
def test_a_training_pass_has_a_gradient_for_each_input_and_weight(kind):
    layer = layer_kinds.make_kind(kind, 64, window=5, kernel=3)
    inputs = layer.inputs(7)
    functions = layer_kinds.passes(layer)
    assert functions["forward"](*inputs).shape == inputs[0].shape
    gradients = functions["training"](*inputs)
    assert [each.shape for each in gradients] == [each.shape for each in [*inputs, *layer.weights]]


def test_the_script(tmp_path, capsys, monkeypatch):
    """Its processes are calls here, because a process starts for seconds."""
    monkeypatch.setattr(
        layer_complexity, "in_a_process", lambda script, *given: layer_complexity.measure_or_count(*given)
    )
    monkeypatch.setattr(layer_kinds, "KINDS", (layer_kinds.RESTRICTED,))
    monkeypatch.setattr(layer_complexity, "FROM_N", 16)
    monkeypatch.setattr(layer_complexity, "FROM_D", 64)
    monkeypatch.setattr(layer_complexity, "set_threads", lambda threads: None)  # TensorFlow runs already
    sizes = {"length": [16, 24, 32], "width": [64, 128, 192], "fixed_length": 8, "fixed_width": 64, "window": 5}
    counted = {"count_length": [5], "count_window": 3, "compare_length": 16, "compare_width": 64}
    layer_complexity.main(tmp_path, **sizes, **counted, seconds=0, compare_rounds=2)
    results = json.loads((tmp_path / "layer_complexity.json").read_text())
    assert len(results["curves"]) == 6 and [len(r["rounds"]) for r in results["compared"]] == [2] * 4
    times = [e for e in results["exponents"] if e["quantity"].endswith("seconds")]
    assert len(times) == 4 and all(e["points"] == 3 and e["standard_error"] >= 0 for e in times)
    assert (tmp_path / "layer_complexity.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "layer_complexity.md").read_text()
    assert "| recurrent | 5 | n | " in printed and "| ratio, heads | " in printed


def test_memory_that_did_not_grow_is_drawn(tmp_path):
    """A panel of zeros has no logarithms. matplotlib would warn of them, and warnings are errors here."""
    passes = {
        f"{name}_{unit}": size for name in layer_complexity.PASSES for unit, size in (("seconds", 0.5), ("mib", 0))
    }
    curves = [
        {"kind": kind, "varies": axis, axis: size, **passes}
        for kind in layer_kinds.KINDS
        for axis in "nd"
        for size in (8, 16)
    ]
    layer_complexity.draw(curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
