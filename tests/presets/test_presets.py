"""Presets are the rows of Table 3. What is counted on paper is what the model and TensorFlow's profiler have."""

import io

import pytest
import tensorflow as tf
from rich.console import Console
from tensorflow.python.framework import ops as graph_ops

from keras_transformer import Transformer
from keras_transformer.presets import PRESETS, TABLE_3, count_parameters, preset, print_presets, training_costs

SMALL = {
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "d_model": 24,
    "num_heads": 4,
    "d_ff": 41,
    "d_k": 5,
    "d_v": 7,
    "dropout": 0.0,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"d_k": None, "d_v": None, "norm": "pre"},
        {"decoder_d_ff": 23},
        {"use_bias": True, "output_bias": True, "tie_embeddings": "none"},
        {"positions": "learned", "max_length": 13},
        {"target_vocabulary_size": 29, "tie_embeddings": "target", "output_bias": True},
        {"target_vocabulary_size": 29, "tie_embeddings": "none"},
    ],
    ids=str,
)
def test_the_count_of_parameters_is_the_models(changes):
    arguments = {**SMALL, "vocabulary_size": 31, **changes}
    assert count_parameters(**arguments) == Transformer(**arguments).count_params()


def test_the_parameters_of_table_3_are_the_papers():
    assert count_parameters(0, **preset("paper_base")) == 44_101_632
    for name, row in TABLE_3.items():
        millions = count_parameters(41_100, **preset(name)) / 1e6
        if name == "paper_big":
            assert row.millions == 213 and round(millions, 1) == 218.4
            assert round(count_parameters(36_000, **preset(name)) / 1e6) == 213
        elif row.millions is not None:
            assert round(millions) == row.millions, name
        else:  # the table leaves the cell blank: as many as the base model, or the learned positions more
            more = 2 * 306 * 512 if name == "paper_e" else 0
            assert count_parameters(41_100, **preset(name)) == 65_144_832 + more, name


def test_table_3_has_all_rows_and_only_arguments_of_the_model():
    rows = [name.removeprefix("paper_") for name in TABLE_3]
    assert rows == "base a1 a2 a3 a4 b1 b2 c1 c2 c3 c4 c5 c6 c7 d1 d2 d3 d4 e big".split()
    assert set(TABLE_3) < set(PRESETS)
    assert preset("paper_c4") == preset("paper_base") | {"d_model": 256, "d_k": 32, "d_v": 32}
    assert preset("paper_big_en_fr") == preset("paper_big") | {"dropout": 0.1}
    smoothing = {name: row.label_smoothing for name, row in TABLE_3.items() if row.label_smoothing != 0.1}
    assert smoothing == {"paper_d3": 0.0, "paper_d4": 0.2}
    assert {name for name, row in TABLE_3.items() if row.steps != 100_000} == {"paper_big"}


def products(graph):
    """The operations of all matrix products of a graph, counted by TensorFlow's profiler."""
    nodes = (op for op in graph.get_operations() if "MatMul" in op.type)
    return sum(graph_ops.get_stats_for_node_def(graph, op.node_def, "flops").value for op in nodes)


def test_the_operations_are_those_that_tensorflows_profiler_counts():
    def traced(function, source_length, target_length):
        ids = [tf.TensorSpec((3, length), tf.int32) for length in (source_length, target_length)]
        return products(tf.function(function).get_concrete_function(*ids).graph)

    def expected(arguments, source_length, target_length):
        lengths = {"source_length": source_length, "target_length": target_length}
        return training_costs(arguments | {"vocabulary_size": 31}, sentences=3, **lengths).flops

    def forward(source, target):
        return model({"source": source, "target": target})

    def backward(source, target):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(forward(source, target))
        return tape.gradient(total, [weight.value for weight in model.trainable_weights])

    model = Transformer(vocabulary_size=31, **SMALL)
    assert 3 * traced(forward, 7, 5) == expected(SMALL, 7, 5)
    # The profiler takes transposed heads for others. So they are square where it counts the backward pass.
    square = {**SMALL, "d_k": 7, "d_v": 7, "decoder_d_ff": 23}
    model = Transformer(vocabulary_size=31, **square)
    assert traced(backward, 7, 7) == expected(square, 7, 7)


def test_the_memory_of_a_small_case_counted_by_hand():
    arguments = {"num_encoder_layers": 1, "num_decoder_layers": 0, "d_model": 6, "num_heads": 2, "d_ff": 11}
    costs = training_costs(arguments | {"vocabulary_size": 13}, sentences=5, source_length=7, target_length=3)
    tokens = 5 * 7
    attention = tokens * (4 * 6 + 3 * 6) + 5 * 2 * 7 * 7  # queries, keys, values, heads' sums; three vectors; weights
    feed_forward = tokens * (11 + 3 * 6)
    embeddings = (5 * 7 + 5 * 3) * 2 * 6
    assert costs.activation_bytes == 4 * (attention + feed_forward + embeddings)
    assert costs.weight_bytes == 16 * count_parameters(13, **arguments) and costs.bytes > costs.weight_bytes


def test_a_window_leaves_the_pairs_of_positions_inside_it():
    lengths = {"sentences": 1, "source_length": 100, "target_length": 90}
    arguments = {**SMALL, "vocabulary_size": 31}
    full, part = (training_costs({**arguments, "window": window}, **lengths).flops for window in (None, 7))
    pairs = 2 * 100 * (100 - 7) + 3 * 90 * (90 - 4)  # of two encoder layers, and of three decoder layers
    assert full - part == 3 * 2 * 4 * (5 + 7) * pairs
    assert training_costs({**arguments, "window": 999}, **lengths).flops == full


def test_all_presets_fit_a_terminal_of_80_columns():
    stream = io.StringIO()
    print_presets(Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    shown = {line.split()[0]: line for line in lines[3:] if line.strip()}
    assert set(PRESETS) == set(shown) and max(map(len, lines)) <= 80
    assert shown["paper_b1"].split()[1:] == "6 512 2048 8 16,64 0.1 0.1 58,066,944 55,967,744 58".split()
    assert shown["paper_d4"].split()[6:8] == ["0.1", "0.2"] and "…" not in stream.getvalue()


def test_students_have_more_encoder_layers_than_decoder_layers():
    students = {name: preset(name) for name in PRESETS if name.startswith("student_")}
    for name, arguments in students.items():
        *_, encoder, decoder = name.split("_")
        assert (arguments["num_encoder_layers"], arguments["num_decoder_layers"]) == (int(encoder), int(decoder))
    assert preset("student_6_1") == preset("paper_base") | {"num_decoder_layers": 1}
    assert [arguments["d_model"] for arguments in students.values()] == [512, 512, 512, 256, 256]


def test_learned_positions_of_row_e_are_enough_for_the_papers_search():
    model = Transformer(vocabulary_size=7, **preset("paper_e") | {"d_model": 8, "num_heads": 1, "d_ff": 3})
    assert model.target_positions.table.shape[0] == 256 + 50
