"""Results on the disk and on the screen: every benchmark writes them here."""

import json


def markdown_table(header, rows):
    """Return a table in Markdown.

    Args:
        header: the titles of the columns.
        rows: a list of rows; a row has one value for each column.
    """
    lines = [markdown_row(header), "|---" * len(header) + "|"]
    return "\n".join(lines + [markdown_row(row) for row in rows])


def markdown_row(cells):
    return f"| {' | '.join(map(str, cells))} |"


def write_json(path, value):
    """Write a value as JSON. A file at `path` is replaced in one move."""
    write_text(path, json.dumps(value, indent=1))


def write_text(path, text):
    from keras_transformer.files import written_beside  # here, as most measurements must not import Keras

    with written_beside(path, overwrite=True) as beside:
        beside.write_text(f"{text}\n", encoding="utf-8")


def write_results(folder, name, results, text):
    """Write `results` to NAME.json and `text` to NAME.md in a folder, and print the text."""
    write_json(folder / f"{name}.json", results)
    write_text(folder / f"{name}.md", text)
    print(text)
