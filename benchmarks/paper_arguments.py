"""Two arguments of "Attention Is All You Need", measured: why √d_k divides, and why sinusoids suit relative positions.

    python benchmarks/paper_arguments.py --output benchmarks/results/paper_arguments

- Footnote 4: if the numbers of a query and of a key are independent, with mean 0 and variance 1, their dot product has
  mean 0 and variance d_k. This draws normal vectors, and compares the variance with d_k, in standard errors.
- Section 3.5: PE(pos + k) is a linear function of PE(pos). The matrix M_k is written down here, and applied to the
  encodings that the layer `PositionalEncoding` adds.

Writes paper_arguments.json, paper_arguments.md and variance.png.
"""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from results import markdown_table, write_results

from keras_transformer import PositionalEncoding, plots

WIDTHS = (1, 4, 16, 64, 256, 1024)
DISTANCES = (1, 2, 5, 10, 50, 100)


def dot_products(d_k, samples, seed=1):
    """The dot products of pairs of vectors whose d_k numbers are drawn from N(0, 1).

    Returns:
        (samples,) float64.
    """
    rng = np.random.default_rng(seed)
    return np.einsum("nk,nk->n", rng.normal(size=(samples, d_k)), rng.normal(size=(samples, d_k)))


def variance_error(d_k, samples):
    """The standard error of the variance of `dot_products`.

    A product of two normal numbers has excess kurtosis 6, and the sum of d_k of them 6 / d_k.
    """
    return d_k * math.sqrt((2 + 6 / d_k) / samples)


def shift_matrix(k, d_model):
    """The matrix M_k of section 3.5: PE(pos + k) = M_k · PE(pos), for every position.

    It rotates each pair of a sine and a cosine by k times the frequency of the pair.

    Args:
        k: the distance, a whole number, which may be negative.
        d_model: D, even.

    Returns:
        (D, D) float64.
    """
    if d_model % 2:
        raise ValueError(f"d_model must be even, so that each sine has its cosine, got {d_model}.")
    matrix = np.zeros((d_model, d_model))
    sines = np.arange(0, d_model, 2)  # (D/2,)
    angles = k * 10000.0 ** -(sines / d_model)
    matrix[sines, sines] = matrix[sines + 1, sines + 1] = np.cos(angles)
    matrix[sines, sines + 1] = np.sin(angles)
    matrix[sines + 1, sines] = -np.sin(angles)
    return matrix


def encodings(positions, d_model):
    """What the layer adds at positions 0, 1, …, `positions` - 1: (positions, D) float64."""
    return np.array(PositionalEncoding()(np.zeros((1, positions, d_model), "float32"))[0], "float64")


def shift_error(k, encoded):
    """The largest difference between M_k · PE(pos) and PE(pos + k), for all positions of `encoded` (positions, D)."""
    return float(np.abs(encoded[:-k] @ shift_matrix(k, encoded.shape[1]).T - encoded[k:]).max())


def measure(samples, positions, d_model):
    """The results of both arguments, as JSON can hold them."""
    variances = []
    for d_k in WIDTHS:
        products = dot_products(d_k, samples)
        error = variance_error(d_k, samples)
        variances.append(
            {
                "d_k": d_k,
                "mean": products.mean(),
                "variance": products.var(),
                "standard_errors_from_d_k": (products.var() - d_k) / error,
                "variance_scaled": (products / math.sqrt(d_k)).var(),
            }
        )
    encoded = encodings(positions, d_model)
    shifts = [{"k": k, "largest_error": shift_error(k, encoded)} for k in DISTANCES if k < positions]
    return {"samples": samples, "variances": variances, "positions": positions, "d_model": d_model, "shifts": shifts}


def draw(results, path):
    """Draw the variances over d_k."""
    widths = [each["d_k"] for each in results["variances"]]
    curves = {
        "d_k": (widths, widths),
        "q·k, measured": (widths, [each["variance"] for each in results["variances"]]),
        "q·k / √d_k, measured": (widths, [each["variance_scaled"] for each in results["variances"]]),
    }
    figure = plots.learning_curves(curves, "d_k", "variance of the dot product", log_y=True)
    expected, *measured = figure.axes[0].lines
    expected.set_marker("")
    for line in measured:
        line.set_linestyle("none")
    figure.axes[0].set_xscale("log", base=2)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path)


def table(results):
    """Both results in Markdown."""
    rows = [
        (
            each["d_k"],
            f"{each['mean']:.3f}",
            f"{each['variance']:.2f}",
            f"{each['standard_errors_from_d_k']:+.1f}",
            f"{each['variance_scaled']:.3f}",
        )
        for each in results["variances"]
    ]
    header = ("d_k", "mean of q·k", "variance", "standard errors from d_k", "variance of q·k / √d_k")
    shifts = [(each["k"], f"{each['largest_error']:.1e}") for each in results["shifts"]]
    error = f"largest error of M_k · PE(pos), {results['positions']:,} positions, D = {results['d_model']}"
    return f"{markdown_table(header, rows)}\n\n{markdown_table(('k', error), shifts)}"


def main(
    output: Annotated[Path, typer.Option(help="Folder for the results.")],
    samples: Annotated[int, typer.Option(min=2, help="Dot products of each width.")] = 20_000,
    positions: Annotated[int, typer.Option(min=2, help="Positions that are encoded.")] = 1000,
    d_model: Annotated[int, typer.Option(min=10, help="Width of the encodings.")] = 512,
):
    """Measure, draw, and write the results."""
    output.mkdir(parents=True, exist_ok=True)
    results = measure(samples, positions, d_model)
    draw(results, output / "variance.png")
    write_results(output, "paper_arguments", results, table(results))


if __name__ == "__main__":
    typer.run(main)
