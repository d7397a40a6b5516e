"""Laser scans: LAS, LAZ and E57."""

import numpy as np

from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.formats.content import as_labels
from keras_pointpeft.data.formats.content import imported
from keras_pointpeft.data.formats.content import role_of


def read_las(path, max_bytes):
    """The points of a .las or .laz file, with their classification."""
    laspy = imported("laspy", path)
    if path.lower().endswith(".laz"):
        imported("lazrs", path)
    with laspy.open(path) as file:
        shape = (file.header.point_count, 3)
        check_size(path, shape, "float64", max_bytes)
        scan = file.read()
    if len(scan.points) != shape[0]:
        raise ValueError(f"it holds {len(scan.points)} of {shape[0]} points")
    there = set(scan.point_format.dimension_names)
    colors = None
    if {"red", "green", "blue"} <= there:
        colors = np.stack([scan.red, scan.green, scan.blue], axis=1)
    # One of its own, as this package writes, says more than the class that
    # every point has.
    own = scan.point_format.extra_dimension_names
    named = [name for name in own if role_of(name) == "label"]
    labels = scan[named[0]] if named else scan.classification
    return Content(
        np.stack([scan.x, scan.y, scan.z], axis=1),
        labels=as_labels(labels),
        colors=colors,
        intensity=np.asarray(scan.intensity),
    )


def read_e57(path, max_bytes):
    """The points of all scans of an .e57 file, each at its place."""
    pye57 = imported("pye57", path)
    parts, images = [], 0
    file = pye57.E57(path)
    try:
        for index in range(file.scan_count):
            count = file.get_header(index).point_count
            check_size(path, (count, 3), "float64", max_bytes)
            parts.append(_read_position(file, index))
        if file.root.isDefined("images2D"):
            images = len(file.root["images2D"])
    finally:
        file.close()
    if not parts:
        raise ValueError("it holds no scans")
    points, intensity, colors, gaps = zip(*parts)
    left_out = []
    if sum(gaps):
        left_out.append(f"{sum(gaps)} invalid points")
    for what, found in (("intensity", intensity), ("colours", colors)):
        count = sum(part is not None for part in found)
        if 0 < count < len(found):
            left_out.append(f"the {what} that {count} scans have")
    if images:
        left_out.append(f"{images} images")
    return Content(
        np.concatenate(points),
        intensity=_joined(intensity),
        colors=_joined(colors),
        left_out=tuple(left_out),
    )


def _read_position(file, index):
    header = file.get_header(index)
    fields = header.point_fields
    colors = {"colorRed", "colorGreen", "colorBlue"} <= set(fields)
    rows = file.read_scan(
        index,
        intensity="intensity" in fields,
        colors=colors,
        # Files need not say which points are invalid.
        ignore_missing_fields=True,
    )
    points = np.stack([rows[f"cartesian{axis}"] for axis in "XYZ"], axis=1)
    if colors:
        names = ("colorRed", "colorGreen", "colorBlue")
        colors = np.stack([rows[name] for name in names], axis=1)
    else:
        colors = None
    return (
        points.astype("float64"),
        rows.get("intensity"),
        colors,
        header.point_count - len(points),
    )


def _joined(parts):
    if any(part is None for part in parts):
        return None
    return np.concatenate(parts)
