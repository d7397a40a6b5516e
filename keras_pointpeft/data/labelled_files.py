"""Labels of points, written back in the format that the points came in."""

import os

import numpy as np
from numpy.lib import recfunctions

from keras_pointpeft.data.formats.ply import read_elements
from keras_pointpeft.data.formats.ply import write_elements
from keras_pointpeft.data.formats.text import encoding_of
from keras_pointpeft.data.formats.text import layout_of
from keras_pointpeft.data.geometry_files import TEXTS
from keras_pointpeft.data.geometry_files import read_vertices
from keras_pointpeft.files.whole import whole_file

NAME = "label"


def write_labels(source, labels, output, bin_columns=None):
    """Writes the points of a file with a label for each.

    All that the file has of its points is kept: `.las` and `.laz` get an
    extra dimension `label`, `.ply` a property, text and `.npy` a last column
    (a field, if its columns have names), `.npz` an array. Other formats
    become a `.ply` file of the same name.

    Args:
        source: path of the file that the points were read from.
        labels: int array, one for each of its points, in their order.
        output: path of the folder to write to; made if it does not exist.
        bin_columns: optional int, see `read_cloud`.

    Returns:
        path of the file that was written.

    Raises:
        ValueError: if the file has another number of points, or the folder
            is the file's own: nothing is overwritten.
    """
    target = labelled_path(source, output)
    source, labels = os.fspath(source), np.asarray(labels)
    extension = os.path.splitext(source)[1].lower()
    with whole_file(target) as place:
        place = os.fspath(place)
        if extension in _WRITERS:
            _WRITERS[extension](source, labels, place)
        else:
            _write_new_ply(source, labels, place, bin_columns)
    return target


def labelled_path(source, output):
    """The file that `write_labels` writes, and its errors."""
    source, output = os.fspath(source), os.path.normpath(output)
    if os.path.realpath(output) == os.path.realpath(os.path.dirname(source)):
        raise ValueError(
            "Points with labels are written to another folder than that of "
            f"their files. Received: {output!r}"
        )
    stem, extension = os.path.splitext(os.path.basename(source))
    extension = extension.lower()
    if extension not in _WRITERS:
        extension = ".ply"
    return os.path.join(output, stem + extension)


def _check(source, count, labels):
    if count != len(labels):
        raise ValueError(
            f"{source} has {count} points, other than there are labels. "
            f"Received: {len(labels)} labels"
        )


def _small(labels):
    return labels.astype("uint8" if labels.max(initial=0) < 256 else "uint16")


def _write_scan(source, labels, target):
    import laspy

    scan = laspy.read(source)
    _check(source, len(scan.points), labels)
    labels = _small(labels)
    if NAME not in scan.point_format.dimension_names:
        scan.add_extra_dim(laspy.ExtraBytesParams(NAME, labels.dtype))
    scan[NAME] = labels
    scan.write(target)


def _write_ply(source, labels, target):
    elements = []
    for name, count, properties, values in read_elements(source):
        if name == "vertex":
            _check(source, count, labels)
            properties = [p for p in properties if p[0] != NAME]
            properties.append(_property(labels))
            values = {**values, NAME: labels}
        elements.append((name, count, properties, values))
    write_elements(target, elements)


def _write_new_ply(source, labels, target, bin_columns):
    points = read_vertices(source, bin_columns=bin_columns).points
    _check(source, len(points), labels)
    properties = [(axis, points.dtype.str[1:], None) for axis in "xyz"]
    properties.append(_property(labels))
    values = {**dict(zip("xyz", points.T)), NAME: labels}
    write_elements(target, [("vertex", len(points), properties, values)])


def _property(labels):
    return (NAME, _small(labels).dtype.str[1:], None)


def _write_text(source, labels, target):
    how = {"encoding": encoding_of(source), "errors": "replace"}
    with open(source, **how) as file:
        layout, declared = layout_of(file, source.lower().endswith(".pts"))
    count = 0
    with open(source, **how) as lines, open(
        target, "w", encoding="utf-8"
    ) as file:
        for number, line in enumerate(lines):
            line = line.rstrip("\r\n")
            mark = layout.delimiter or ("\t" if "\t" in line else " ")
            if number < layout.skip:
                if any(c.isalpha() for c in line):
                    line += f"{mark}{NAME}"  # a header
            elif _is_point(line, declared):
                if count < len(labels):
                    line += f"{mark}{labels[count]}"
                count += 1
            file.write(line + "\n")
    _check(source, count, labels)


def _is_point(line, declared):
    """Whether a line behind the header is none that says how many follow."""
    if not line.strip() or line.lstrip().startswith("#"):
        return False
    return declared is None or not line.strip().isdigit()


def _write_array(source, labels, target):
    table = np.load(source, mmap_mode="r", allow_pickle=False)
    _check(source, len(table), labels)
    if table.dtype.names:
        table = recfunctions.drop_fields(table, NAME, usemask=False)
        table = recfunctions.append_fields(
            table, NAME, _small(labels), usemask=False
        )
    else:
        table = np.column_stack((table, labels.astype(table.dtype)))
    with open(target, "wb") as file:
        np.save(file, table)


def _write_arrays(source, labels, target):
    with np.load(source, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    with open(target, "wb") as file:
        np.savez(file, **{**kept, NAME: labels})


_WRITERS = {
    ".las": _write_scan,
    ".laz": _write_scan,
    **dict.fromkeys(TEXTS, _write_text),
    ".ply": _write_ply,
    ".npy": _write_array,
    ".npz": _write_arrays,
}
