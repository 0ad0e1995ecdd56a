"""keras-transformer presets: sizes of models, and recipes."""

from typing import Annotated

import typer

EXAMPLE = "keras-transformer presets --pairs 50000"
ACROSS = 3  # recipes side by side, in 80 columns


def presets(
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Show the recipe for so many sentence pairs.", show_default="all")
    ] = None,
):
    """List the presets of the model and the recipes of training."""
    from keras_transformer.console import safe_console
    from keras_transformer.presets import print_presets
    from keras_transformer.recipes import read_recipe, recipe_names, recommended

    console = safe_console()
    recipes = [recommended(pairs)] if pairs else [read_recipe(name) for name in recipe_names()]
    if not pairs:
        print_presets(console)
        console.print()
    rows = [{"recipe": recipe.name, "pairs": f"{recipe.pairs:,}", **recipe.settings} for recipe in recipes]
    for start in range(0, len(rows), ACROSS):
        console.print(table("Recipes", rows[start : start + ACROSS]))
        console.print()
    for recipe in recipes:
        console.print(f"{recipe.name}: {recipe.about}", markup=False, highlight=False)


def table(title, rows):
    """A table whose rows are dictionaries. Each row is a column, so that a terminal of usual width has room."""
    from rich.table import Table

    rows = list(rows)
    first, *names = dict.fromkeys(name for row in rows for name in row)
    drawn = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
    drawn.add_column("", no_wrap=True)
    for row in rows:
        drawn.add_column(str(row[first]), justify="right", overflow="fold")
    for name in names:
        if any(row.get(name) is not None for row in rows):
            drawn.add_row(name, *(shown(row.get(name)) for row in rows))
    return drawn


def shown(value):
    """A value of a table."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def add_to(app):
    """Add the command to the application."""
    app.command(epilog=f"Example:  {EXAMPLE}")(presets)
