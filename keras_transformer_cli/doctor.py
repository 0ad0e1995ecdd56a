"""keras-transformer doctor: what does not fit on this machine, and what a server lacks for an export."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "keras-transformer doctor saved_models/en_de/1"
DISTRIBUTION = "keras-transformer-translation"


def doctor(
    export: Annotated[Path | None, typer.Argument(help="An export, to see what a stock server lacks for it.")] = None,
):
    """Look for what does not fit: versions, another project of the same import name, GPUs, and an export's needs.

    The exit code is 1 if something is wrong.
    """
    from keras_transformer.console import safe_console
    from keras_transformer.export.checks import doctor as checks
    from keras_transformer.inputs.paths import check_source

    if export is not None:
        check_source(export, "folder", "export")
    console = safe_console()
    problems = versions_that_do_not_fit()
    if (installed := checks.namesake_version()) is not None:
        problems.append(checks.namesake_warning(installed))
    report = None if export is None else checks.doctor(export)
    print_facts(console, machine_facts())
    if report is not None:
        console.print(report)
        if not report.healthy:
            problems.append(f"a stock TensorFlow Serving does not run {export}, or its files were changed: see above.")
    for problem in problems:
        console.print(f"Problem: {problem}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    if not problems:
        console.print("Nothing is wrong.", style="green", highlight=False)
    raise typer.Exit(int(bool(problems)))


def versions_that_do_not_fit():
    """A line for each required package that is missing or has another version."""
    from packaging.requirements import Requirement

    found = []
    for text in distribution(DISTRIBUTION).requires or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            found.append(f"{requirement.name} is not installed: pip install '{requirement}'")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            found.append(f"{requirement.name} {installed} does not fit {requirement}: pip install '{requirement}'")
    return found


def machine_facts():
    """{name: text} of what is installed and what is seen."""
    import keras

    facts = {"python": f"{platform.python_version()}, {sys.executable}", DISTRIBUTION: version(DISTRIBUTION)}
    for package in ("keras", "tensorflow", "tensorflow-text", "keras-hub", "sentencepiece", "jax", "torch"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["backend"] = keras.backend.backend()
    devices = keras.distribution.list_devices()
    gpus = [device for device in devices if not device.lower().startswith("cpu")]
    facts["devices"] = ", ".join(devices)
    if not gpus:
        facts["GPUs"] = f"none is seen: pip install '{DISTRIBUTION}[cuda]' on a machine with an NVIDIA GPU"
    facts["8-bit integers"] = integers()
    return facts


def integers():
    """Whether this machine multiplies in 8-bit integers."""
    from keras_transformer.backend.int8 import IntegersNotExact, check_int8

    try:
        check_int8()
    except IntegersNotExact as error:
        return str(error)
    return "yes"


def print_facts(console, facts):
    """Print names and values as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(name, style="bold"), Text(value))
    console.print(table)


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Examples:  keras-transformer doctor   |   {EXAMPLE}")(doctor)
