"""Table 3 of the paper at a small scale: each row trained on two seeds, beside the numbers of the paper.

    python examples/ablations.py --output runs/ablations --source train.en --target train.de \
        --valid-source val.en --valid-target val.de

Widths are a quarter of the paper's and stacks are half as high, so the base model has 3 + 3 layers, d_model 128, d_ff
512 and 8 heads of 16. Everything else that Table 3 varies is as in the paper. A finished row is a card in `cards/`, and
is not trained again. So the command can be stopped and started at any time. At the end, or with `--report`, it writes
the table and its picture from the cards that are there.
"""

import json
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from keras_transformer_cli.quiet import end_quietly, quiet_startup

if __name__ == "__main__":
    end_quietly()
    quiet_startup()  # before TensorFlow is imported

import typer

from keras_transformer import Tokenizer
from keras_transformer.console import safe_console, show
from keras_transformer.files import written_beside
from keras_transformer.presets import TABLE_3, preset
from keras_transformer.training import read_history

WIDTH, HEIGHT = 4, 2  # the paper's widths and layers are divided by these
VOCABULARY = 4000
STEPS, WARMUP_STEPS, TOKENS_PER_BATCH = 800, 160, 4096  # the big model trains three times as long, as in the paper
PEAK = 2e-3  # the highest rate of the base model; as in the paper, that of another width goes with d_model^-0.5
COLUMNS = (
    *("row", "change", "perplexity", "BLEU", "seeds", "parameters", "minutes", "paper: perplexity", "BLEU"),
    *("against the base: here", "in the paper"),
)
COMMAND = "import sys; from keras_transformer_cli.main import main; sys.argv[0] = 'keras-transformer'; main()"


def scaled(name):
    """The arguments of `Transformer` for a row of Table 3, at the small scale."""
    arguments = preset(name)
    heads = arguments["num_heads"]
    widths = {side: arguments.get(side) or arguments["d_model"] // heads for side in ("d_k", "d_v")}
    widths |= {side: arguments[side] for side in ("d_model", "d_ff")}
    layers = {side: arguments[side] // HEIGHT for side in ("num_encoder_layers", "num_decoder_layers")}
    return arguments | {side: width // WIDTH for side, width in widths.items()} | layers


def training_command(name, seed, files, tokenizer, output):
    """The command that trains one row, as a list of words after `keras-transformer`."""
    row, arguments = TABLE_3[name], scaled(name)
    base = scaled("paper_base")
    steps = STEPS * row.steps // TABLE_3["paper_base"].steps
    options = {
        "valid-source": files[2],
        "valid-target": files[3],
        "output": output,
        "tokenizer": tokenizer,
        "recipe": "paper",
        "preset": name,
        "dropout": arguments["dropout"],
        "label-smoothing": row.label_smoothing,
        "tokens-per-batch": TOKENS_PER_BATCH,
        "steps": steps,
        "warmup-steps": WARMUP_STEPS,
        "peak": PEAK * (base["d_model"] / arguments["d_model"]) ** 0.5,
        "average": 1,
        "bleu-every": 0,
        "samples": 0,
        "seed": seed,
    }
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    changes = {key: value for key, value in arguments.items() if value != preset(name).get(key)}
    words += [word for change in changes.items() for word in ("--model", "{}={}".format(*change))]
    return ["train", str(files[0]), str(files[1]), *words]


@dataclass(frozen=True)
class Result:
    """What was measured of one row with one seed."""

    row: str
    seed: int
    perplexity: float
    bleu: float
    parameters: int
    minutes: float


def train_row(name, seed, files, tokenizer, output, options, console):
    """Train a row in its own process, and write its card.

    Raises:
        typer.Exit: the training ended with an error, or was interrupted. What it has done so far is kept.
    """
    run, card = output / "runs" / f"{name}_{seed}", card_path(output, name, seed)
    command = [*training_command(name, seed, files, tokenizer, run), *options]
    show(console, f"{name}, seed {seed}: keras-transformer {shlex.join(command)}")
    code = subprocess.run([sys.executable, "-c", COMMAND, *command], stdout=subprocess.DEVNULL).returncode
    if code:
        raise typer.Exit(code)
    facts = json.loads((run / "result.json").read_text(encoding="utf-8"))
    history = read_history(run / "history.jsonl")
    found = {
        "row": name,
        "seed": seed,
        "perplexity": min(epoch["val_perplexity"] for epoch in history),
        "bleu": facts["scores"]["validation, best epoch"]["BLEU"],
        "parameters": facts["model"]["parameters"],
        "minutes": sum(epoch["seconds"] for epoch in history) / 60,
    }
    card.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(card, overwrite=True, kind="file") as beside:
        beside.write_text(json.dumps(found | {"facts": facts}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def card_path(output, name, seed):
    """The file of one result."""
    return output / "cards" / f"{name}_{seed}.json"


def read_results(output):
    """The results in the cards of a folder: {row: list of `Result`}, in the order of Table 3."""
    found = {name: [] for name in TABLE_3}
    for path in sorted((output / "cards").glob("*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        found[card["row"]].append(Result(**{key: card[key] for key in Result.__dataclass_fields__}))
    return {name: results for name, results in found.items() if results}


def mean(results, field):
    """The mean of a field over the seeds."""
    return statistics.fmean(getattr(result, field) for result in results)


def direction(difference, noise):
    """Whether a row is better or worse than the base model, by a difference of BLEU. `noise` is None if unknown."""
    if abs(difference) <= (noise or 0):
        return "same"
    return "better" if difference > 0 else "worse"


def noise_of(results):
    """The largest difference of BLEU between two seeds of one row; None if each row has one seed.

    A smaller difference between rows says nothing.
    """
    spreads = [max(each) - min(each) for each in ([one.bleu for one in row] for row in results.values()) if each[1:]]
    return max(spreads, default=None)


def table(results):
    """The rows of the table, as Markdown."""
    base, paper, noise = results.get("paper_base"), TABLE_3["paper_base"], noise_of(results)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for name, found in results.items():
        row, arguments = TABLE_3[name], scaled(name)
        changes = {key: arguments[key] for key in row.changes}
        changes |= {"label_smoothing": row.label_smoothing} if row.label_smoothing != paper.label_smoothing else {}
        here = direction(mean(found, "bleu") - mean(base, "bleu"), noise) if base and name != "paper_base" else ""
        there = direction(row.bleu - paper.bleu, 0.05) if name != "paper_base" else ""
        cells = [
            name.removeprefix("paper_"),
            ", ".join(f"{key} {value}" for key, value in changes.items()),
            f"{mean(found, 'perplexity'):.2f}",
            f"{mean(found, 'bleu'):.2f}",
            str(len(found)),
            f"{found[0].parameters:,}",
            f"{mean(found, 'minutes'):.1f}",
            f"{row.perplexity:.2f}",
            f"{row.bleu}",
            here,
            there,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def write_report(output, console):
    """Write the table and the picture of the results that are there, and print the table."""
    results = read_results(output)
    if not results:
        show(console, f"{output / 'cards'} holds no result yet.")
        return
    noise = noise_of(results)
    if noise is None:
        same = "Each row has one seed, so a small difference here may be chance; in the paper, “same” is one of 0.05."
    else:
        same = (
            f"“same” is a difference of BLEU of at most {noise:.2f}, the largest between two seeds of one row; in the "
            "paper, of 0.05."
        )
    about = f"Perplexity a piece and BLEU are those of the validation data, means over the seeds. {same}"
    text = "\n".join(["# Table 3 at a small scale", "", about, "", *table(results), ""])
    with written_beside(output / "table_3.md", overwrite=True, kind="file") as beside:
        beside.write_text(text, encoding="utf-8")
    draw(results, output / "table_3.png")
    show(console, text)


def draw(results, path):
    """Draw the differences of BLEU from the base model, ours beside the paper's. Without the base row, draw nothing."""
    if "paper_base" not in results:
        return
    from matplotlib.figure import Figure

    names = [name for name in results if name != "paper_base"]
    ours = [mean(results[name], "bleu") - mean(results["paper_base"], "bleu") for name in names]
    papers = [TABLE_3[name].bleu - TABLE_3["paper_base"].bleu for name in names]
    figure = Figure(figsize=(7, 0.34 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    places = range(len(names))
    axes.barh([place - 0.19 for place in places], ours, 0.36, label="here")
    axes.barh([place + 0.19 for place in places], papers, 0.36, label="in the paper")
    axes.set_yticks(list(places), [name.removeprefix("paper_") for name in names])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    if (noise := noise_of(results)) is not None:
        axes.axvspan(-noise, noise, color="black", alpha=0.08, label="between two seeds")
    axes.set_xlabel("BLEU minus that of the base model")
    axes.legend()
    with written_beside(path, overwrite=True, kind="file") as beside:
        figure.savefig(beside, format="png", dpi=150)


def main(
    output: Annotated[Path, typer.Option(help="Folder of the cards, the runs, the table and the picture.")],
    source: Annotated[Path | None, typer.Option(help="Source sentences to train on.")] = None,
    target: Annotated[Path | None, typer.Option(help="Their translations.")] = None,
    valid_source: Annotated[Path | None, typer.Option(help="Validation sentences.")] = None,
    valid_target: Annotated[Path | None, typer.Option(help="Their translations.")] = None,
    rows: Annotated[str, typer.Option(help="Rows with commas, such as base,a1,c7.")] = "all",
    seeds: Annotated[str, typer.Option(help="Seeds with commas.")] = "1,2",
    report: Annotated[bool, typer.Option("--report", help="Train nothing: write the table of the cards.")] = False,
    options: Annotated[
        list[str] | None, typer.Argument(help="More options of keras-transformer train, after --.", show_default="none")
    ] = None,
):
    """Train the rows of Table 3 at a small scale, and print them beside the paper's."""
    console = safe_console()
    if not report:
        files = (source, target, valid_source, valid_target)
        for name, path in zip(("source", "target", "valid-source", "valid-target"), files, strict=True):
            if path is None or not path.is_file():
                raise typer.BadParameter(f"must be a file, got {path}.", param_hint=f"--{name}")
        names = chosen_rows(rows)
        tokenizer = learn_tokenizer(output, source, target)
        for seed in chosen_seeds(seeds):  # all rows once, then again: so an early stop leaves a whole table
            for name in names:
                if not card_path(output, name, seed).exists():
                    train_row(name, seed, files, tokenizer, output, options or [], console)
    write_report(output, console)


def chosen_rows(text):
    """The presets of rows such as "base,a1".

    Raises:
        typer.BadParameter: an unknown row.
    """
    names = list(TABLE_3) if text == "all" else [f"paper_{row.strip()}" for row in text.split(",")]
    for name in names:
        if name not in TABLE_3:
            known = ", ".join(row.removeprefix("paper_") for row in TABLE_3)
            raise typer.BadParameter(
                f"there is no row {name.removeprefix('paper_')!r}. The rows are: {known}.", param_hint="--rows"
            )
    return names


def chosen_seeds(text):
    """The numbers of a text such as "1,2".

    Raises:
        typer.BadParameter: a seed is no whole number.
    """
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"must be whole numbers with commas, got {text!r}.", param_hint="--seeds") from error


def learn_tokenizer(output, source, target):
    """The tokenizer of all rows. It is learned once."""
    folder = output / "tokenizer"
    path = folder / "tokenizer.model"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        Tokenizer.train([source, target], VOCABULARY, hard_vocab_limit=False).save(path)
    return path


if __name__ == "__main__":
    typer.run(main)
