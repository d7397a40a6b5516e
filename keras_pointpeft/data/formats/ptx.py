"""PTX, the scans of Leica's programs: text, each scan with its place."""

import numpy as np

from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.formats.content import Content

# Behind the two sizes: the scanner's place and axes, and the transform.
_PLACE = (3, 3, 3, 3, 4, 4, 4, 4)


def read(path, max_bytes):
    """The points of all scans of a .ptx file, each at its place.

    A scan is columns and rows, the scanner's place and axes, a transform of
    rows `x y z 1`, and a line `x y z intensity`, with `r g b` or without, for
    each cell; where nothing was hit, x, y and z are 0.
    """
    points, intensity, colors, gaps = [], [], [], 0
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        while (count := _size(file)) is not None:
            check_size(path, (count, 7), "float64", max_bytes)
            place = [_numbers(file, size) for size in _PLACE]
            matrix = np.array(place[4:])
            rows = np.loadtxt(file, max_rows=count, ndmin=2)
            if len(rows) != count or rows.shape[1] not in (4, 7):
                raise ValueError(
                    f"a scan of {count} points has {len(rows)} lines of "
                    f"{rows.shape[1]} numbers"
                )
            hit = rows[:, :3].any(axis=1)
            gaps += count - int(hit.sum())
            rows = rows[hit]
            points.append(rows[:, :3] @ matrix[:3, :3] + matrix[3, :3])
            intensity.append(rows[:, 3])
            colors.append(rows[:, 4:])
    if not points:
        raise ValueError("it holds no scans")
    whole = all(part.shape[1] == 3 for part in colors)
    return Content(
        np.concatenate(points),
        intensity=np.concatenate(intensity),
        colors=np.concatenate(colors) if whole else None,
        left_out=(f"{gaps} directions without a point",) if gaps else (),
        color_range=255.0,
    )


def _size(file):
    """Columns by rows of the next scan, None at the end."""
    line = file.readline()
    while line and not line.strip():
        line = file.readline()
    if not line:
        return None
    (columns,), (rows,) = _split(line, 1), _numbers(file, 1)
    if columns != int(columns) or rows != int(rows) or min(columns, rows) < 1:
        raise ValueError(f"a scan of {columns:g} by {rows:g} points")
    return int(columns) * int(rows)


def _numbers(file, count):
    return _split(file.readline(), count)


def _split(line, count):
    words = line.split()
    if len(words) != count:
        raise ValueError(f"a line must have {count} numbers: {line[:40]!r}")
    return [float(word) for word in words]
