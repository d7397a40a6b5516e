"""Text files: their lines, and tables of numbers."""

import numpy as np


def read_lines(path) -> list[str]:
    """The lines of a text file without the empty ones."""
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


def read_table(path, columns, delimiter=None):
    """Reads the first `columns` numbers of every line.

    Args:
        path: string, the file.
        columns: int, or a sequence of the columns' positions.
        delimiter: string. Defaults to None, white space.

    Returns:
        float64 array `(lines, columns)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, or a line has too few columns or
            something that is no number.
    """
    wanted = range(columns) if isinstance(columns, int) else columns
    try:
        with open(path, encoding="utf-8") as file:
            if not file.readline().strip():
                raise ValueError("the file has no first line")
            file.seek(0)
            return np.loadtxt(
                file,
                dtype="float64",
                delimiter=delimiter,
                usecols=tuple(wanted),
                ndmin=2,
            )
    except ValueError as error:
        raise ValueError(
            f"{path} must hold lines of numbers, at least {max(wanted) + 1} "
            f"on each. Received: {error}"
        ) from error
