"""Draws the rooms of the package and their imports, from the table of `tests/house/test_rooms.py`.

    python tests/support/draw_rooms.py

writes `docs/explanation/rooms.svg`. A test compares that file with the table.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "house" / "test_rooms.py"
PICTURE = ROOT / "docs" / "explanation" / "rooms.svg"

BOX, GAP, STOREY, MARGIN = (112, 34), 14, 88, 12  # of a box: width and height
CORE, OTHER = "#c5cae9", "#eceff1"


def table_of(name):
    """The value of a table in `test_rooms.py`."""
    for node in ast.parse(TABLE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"{TABLE} has no table {name}.")


def imports_of(rooms):
    """{room: the rooms that it may import}, from {room: names, with spaces between them}."""
    return {room: {name for name in names.split() if name in rooms} for room, names in rooms.items()}


def below(room, imports):
    """All rooms under a room: those that it imports, those that they import, and so on."""
    return set().union(*({other} | below(other, imports) for other in imports[room]), set())


def storey(room, imports):
    return 1 + max((storey(other, imports) for other in imports[room]), default=-1)


def arrows(imports):
    """The imports that the picture shows: not those that another arrow leads to anyway."""
    found = []
    for room, others in imports.items():
        further = set().union(*(below(other, imports) for other in others), set())
        found += [(room, other) for other in sorted(others - further)]
    return found


def places(imports):
    """{room: (column, storey)}. In a storey, a room stands over the middle of the rooms that it imports."""
    storeys = {}
    for room in sorted(imports):
        storeys.setdefault(storey(room, imports), []).append(room)
    found, widest = {}, max(map(len, storeys.values()))
    for level in sorted(storeys):

        def middle(room):
            columns = [found[other][0] for other in imports[room]]
            return sum(columns) / len(columns) if columns else 0

        row = sorted(storeys[level], key=lambda room: (middle(room), room))
        for number, room in enumerate(row):
            found[room] = ((widest - len(row)) / 2 + number, level)
    return found


def side_by_side(room, rooms, corner):
    """The place of a room's arrow on the edge of a box, where the arrows of `rooms` end."""
    number = sorted(rooms, key=lambda other: (*corner(other), other)).index(room)
    return round(BOX[0] * (number + 1) / (len(rooms) + 1))


def draw(rooms, core):
    """The picture as SVG.

    Args:
        rooms: {room: what it may import, with spaces between the names}.
        core: the rooms of the core, which have another color.
    """
    imports = imports_of(rooms)
    at = places(imports)
    highest = max(level for _, level in at.values())
    columns = max(column for column, _ in at.values())
    width = round(2 * MARGIN + columns * (BOX[0] + GAP) + BOX[0])
    height = 2 * MARGIN + highest * STOREY + BOX[1]

    def corner(room):
        column, level = at[room]
        return round(MARGIN + column * (BOX[0] + GAP)), MARGIN + (highest - level) * STOREY

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="14">',
        "<title>The rooms of keras_transformer and their imports</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#7986cb"/></marker></defs>',
    ]
    shown = arrows(imports)
    for room, other in shown:
        # The ends of a box's arrows lie side by side, in the order of the boxes at their other ends.
        x = corner(room)[0] + side_by_side(other, [end for start, end in shown if start == room], corner)
        to_x = corner(other)[0] + side_by_side(room, [start for start, end in shown if end == other], corner)
        y, to_y = corner(room)[1] + BOX[1], corner(other)[1]
        bend = (to_y - y) // 2
        lines.append(
            f'<path d="M{x} {y}C{x} {y + bend} {to_x} {to_y - bend} {to_x} {to_y}" fill="none" stroke="#7986cb" '
            'marker-end="url(#head)"/>'
        )
    for room in sorted(at):
        x, y = corner(room)
        color = CORE if room in core else OTHER
        lines.append(
            f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="{color}" stroke="#5c6bc0"/>'
            f'<text x="{x + BOX[0] // 2}" y="{y + 22}" text-anchor="middle" fill="#1a237e">{room}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(table_of("ROOMS"), table_of("CORE")), encoding="utf-8")
