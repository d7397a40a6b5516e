"""Clouds in text files: with or without header, from many programs."""

import csv
import dataclasses
import re

import numpy as np

from keras_pointpeft.data.formats.content import from_columns
from keras_pointpeft.data.formats.content import role_of

_COMMENTS = ("#", "//", "%")
# Separators beside which "," may be the decimal point.
_MARKS = (";", "|")
# So many lines may stand before the first point.
_LONGEST_HEADER = 200
# What total stations and scanners write behind the coordinates in .pts.
_PTS = {4: ("intensity",), 6: ("r", "g", "b"), 7: ("intensity", "r", "g", "b")}


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How the lines of a file are to be read."""

    skip: int
    delimiter: str | None
    decimal_comma: bool
    roles: tuple
    columns: tuple
    named: bool
    width: int


def read(path, counted=False):
    """The points of a text file.

    Numbers are separated by white space, `,`, `;` or `|`, with a decimal
    point or, where another separator allows it, a decimal comma. Lines that
    start with `#`, `//` or `%` are comments. A header of names, in a comment
    or not, says which columns are x, y, z, the label, colours, normals and
    intensity; without one the first three are the coordinates. Where a
    separator shows it, a cell beside x, y and z may be empty: it is NaN, as
    a label -1.

    Args:
        path: string.
        counted: bool. Whether a line with one number alone says how many
            points follow, as in .pts.

    Returns:
        `content.Content`.

    Raises:
        ValueError: no points, a line that is no row of numbers, a header
            without x, y and z, or another count than was declared.
    """
    with open(path, encoding=encoding_of(path), errors="replace") as file:
        layout, count = layout_of(file, counted)
        # The first row may have whole numbers alone.
        if layout.delimiter != "," and any("," in line for line in file):
            layout = dataclasses.replace(layout, decimal_comma=True)
    parts = []
    with open(path, encoding=encoding_of(path), errors="replace") as file:
        for _ in range(layout.skip):
            file.readline()
        while True:
            rows = _rows(file, layout, count)
            if count is not None and len(rows) != count:
                raise ValueError(
                    f"a line says that {count} points follow, but {len(rows)} "
                    "do: it is not complete"
                )
            parts.append(rows)
            # The next set of points, or the end.
            line = file.readline() if count is not None else ""
            while line and not line.strip():
                line = file.readline()
            if not line:
                break
            if not re.fullmatch(r"\s*\d+\s*", line):
                raise ValueError(
                    f"more lines than the {count} points that it declares"
                )
            count = int(line)
    rows = np.concatenate(parts)
    if not layout.named:
        _check_counter(rows, layout)
    content = from_columns(dict(zip(layout.roles, rows.T)))
    if counted and not layout.named:
        # What is read there without a name counts up to 255.
        content = dataclasses.replace(content, color_range=255.0)
    return content


def encoding_of(path):
    """The encoding of a text file, by its first bytes."""
    with open(path, "rb") as file:
        utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    return "utf-16" if utf16 else "utf-8-sig"


def _check_counter(rows, layout):
    """Refuses numbers of points in front of coordinates."""
    first = rows[:, layout.roles.index("x")]
    if layout.width < 4 or len(first) < 8 or first[0] not in (0, 1):
        return
    if (np.diff(first) == 1).all():
        raise ValueError(
            "its first column counts the points; put names of the columns, "
            'such as "id x y z", into a first line'
        )


def _rows(file, layout, count):
    """The next rows as float64, all or so many."""
    convert = {}
    if layout.decimal_comma:
        convert = dict.fromkeys(layout.columns, _with_comma)
    whole = count is None and layout.delimiter is not None
    begin = file.tell() if whole else None
    try:
        return _table(file, layout, count, convert)
    except ValueError as error:
        if not whole or not re.search(r"string '(\s|\\t)*'", str(error)):
            raise
    # What else a point has may be missing, its place may not. (Not at once:
    # it takes ten times as long.)
    for role, column in zip(layout.roles, layout.columns):
        if role not in ("x", "y", "z"):
            convert[column] = _or_none(convert.get(column, float))
    file.seek(begin)
    return _table(file, layout, count, convert)


def _table(file, layout, count, convert):
    return np.loadtxt(
        file,
        "float64",
        comments="#",
        delimiter=layout.delimiter,
        converters=convert or None,
        usecols=layout.columns,
        quotechar='"',
        ndmin=2,
        max_rows=count,
    ).reshape(-1, len(layout.columns))


def _with_comma(text):
    return float(text.replace(",", "."))


def _or_none(convert):
    return lambda text: convert(text) if text.strip() else np.nan


def layout_of(file, counted):
    """Looks at the first lines: where the numbers begin, and how.

    Args:
        file: an open text file.
        counted: bool, see `read`.

    Returns:
        `(layout, count)`: how many lines to `skip`, the `delimiter` (None for
        white space) and more; and how many points follow, None if no line
        says it.

    Raises:
        ValueError: see `read`.
    """
    comment = names = count = None
    for number in range(_LONGEST_HEADER):
        line = file.readline()
        if not line:
            raise ValueError("it holds no points")
        text = line.strip()
        if not text:
            continue
        if re.fullmatch("sep=.", text):  # of Excel
            continue
        if text.startswith(_COMMENTS):
            comment = text.lstrip("#/% ")
            continue
        delimiter, decimal_comma = _separator(text)
        cells = _cells(text, delimiter, len(names or ()))
        numbers = [_is_number(cell, decimal_comma) for cell in cells]
        if counted and count is None and re.fullmatch(r"\d+", text):
            count = int(text)
            continue
        if not any(numbers[:3]) and names is None:
            names = tuple(cells)
            continue
        break
    else:
        raise ValueError(f"no row of numbers in {_LONGEST_HEADER} lines")
    if names is None and comment is not None:
        names = _names_in(comment, len(cells))
    if names is not None:
        roles = [role_of(name) for name in names]
        if not {"x", "y", "z"} <= set(roles):
            raise ValueError(
                f"its header names the columns {list(names)[:8]}, and not x, "
                "y and z"
            )
        if len(names) != len(cells):
            raise ValueError(
                f"its header names {len(names)} columns, and the first row "
                f"has {len(cells)}"
            )
    elif len(cells) < 3 or not all(numbers[:3]):
        raise ValueError(
            f"line {number + 1} must hold numbers, at least 3, and not "
            f"{text[:40]!r}"
        )
    else:
        roles = [*"xyz"]
        if counted and all(numbers):
            roles += _PTS.get(len(cells), ())
    # The first of each role; other columns are not looked at.
    columns = {role: i for i, role in reversed([*enumerate(roles)]) if role}
    return (
        _Layout(
            number,
            delimiter,
            decimal_comma,
            *zip(*columns.items()),
            names is not None,
            len(cells),
        ),
        count,
    )


def _names_in(comment, width):
    """The names of the columns, if a comment is their list."""
    for delimiter in (*_MARKS, ",", None):
        cells = _cells(comment, delimiter)
        roles = {role_of(cell) for cell in cells}
        if len(cells) == width and {"x", "y", "z"} <= roles:
            return tuple(cells)
    return None


def _separator(text):
    """What separates the cells of a line, and whether "," is the point."""
    for mark in _MARKS:
        if mark in text:
            return mark, "," in text
    cells = _cells(text, "\t")
    if len(cells) >= 3 and all(cells) and any(" " in c for c in cells):
        # Tabs are white space too, but for names and words with spaces.
        comma = all(_is_number(cell, True) for cell in cells[:3])
        return "\t", "," in text and comma
    if "," not in text:
        return None, False
    cells = text.split()
    if len(cells) >= 3:
        if all(_is_number(cell) for cell in cells[:3]):
            return None, False
        if all(_is_number(cell, True) for cell in cells):
            return None, True
    return ",", False


def _cells(text, delimiter, width=None):
    """The cells of a line, so many if it has them."""
    parts = text.split(delimiter)
    if '"' in text and delimiter is not None:
        # A separator between quotation marks is none.
        (parts,) = csv.reader([text], delimiter=delimiter)
    cells = [cell.strip().strip("\"'") for cell in parts]
    # A separator at the end of the line, or a last cell that is empty.
    ends = cells[-1] == "" and len(cells) != width
    return cells[:-1] if ends else cells


def _is_number(cell, decimal_comma=False):
    try:
        float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return False
    return True
