"""Files of many kinds that other libraries wrote; see `make_files.py`."""

import json
import pathlib
import re
import shutil
import warnings

import numpy as np
import pytest

from keras_pointpeft.data.geometry_files import read_content
from keras_pointpeft.data.geometry_files import read_vertices

pytestmark = pytest.mark.once

FOLDER = pathlib.Path(__file__).parent / "files"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
TEXTS = (".txt", ".xyz", ".pts", ".csv", ".asc", ".off", ".obj", ".gltf")

for package in ("trimesh", "laspy", "lazrs", "pye57", "lzf"):
    pytest.importorskip(package)


def bin_columns(name):
    return EXPECTED.get(name, {}).get("bin_columns")


def area_of(content):
    a, b, c = np.moveaxis(content.points[content.faces], 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_other_libraries_wrote(name):
    expected = EXPECTED[name]
    content = read_vertices(FOLDER / name, bin_columns=bin_columns(name))
    points, digits = content.points, expected["digits"]
    if "area" in expected:
        assert abs(area_of(content) - expected["area"]) < 1e-4
        points = points[np.unique(content.faces)]
    else:
        assert content.faces is None
        assert len(points) == expected["points"]
        mean = points.mean(axis=0, dtype="float64")
        np.testing.assert_allclose(mean, expected["mean"], atol=digits)
    for what in ("labels", "colors", "intensity"):
        if what in expected:
            assert getattr(content, what).tolist() == expected[what]
    for found, wanted in (
        (points.min(axis=0), expected["min"]),
        (points.max(axis=0), expected["max"]),
    ):
        # As many digits as the coordinates had on the map.
        np.testing.assert_allclose(found, wanted, rtol=0, atol=digits)


# What reads a format here, if it is a library.
READERS = {
    "numpy": (".npy", ".npz", ".bin", *TEXTS[:5]),
    "trimesh": (".stl",),
    "laspy": (".las", ".laz"),
    "pye57": (".e57",),
}


def kind_of(name):
    """A format and its variant, as the file itself shows."""
    content, kind = (FOLDER / name).read_bytes(), pathlib.Path(name).suffix
    first = content.split(b"\n", 1)[0]
    words = content.split(b"end_header")[0].split()
    if kind == ".ply":
        what = [e for e in (b"tristrips", b"face", b"list") if e in words]
        return kind, words[words.index(b"format") + 1], *what[:1]
    if kind == ".pcd":
        return kind, words[words.index(b"DATA") + 1], b"8" in words
    if kind == ".stl":
        return kind, first.startswith(b"solid")
    if kind == ".off":
        return kind, first[:4].strip()
    if kind in (".glb", ".gltf"):
        marks = (b'"sparse"', b'"normalized"', b'"matrix"', b'"scale"')
        modes = [f'"mode":{mode}'.encode() for mode in range(7)]
        content = content.replace(b" ", b"")
        return kind, *(mark in content for mark in (*marks, *modes))
    if kind == ".obj":
        faces = [line for line in words if line == b"f"]
        return kind, len(faces) == len(TRIANGLE_LINES.findall(content))
    if kind in TEXTS:
        mark = next((m for m in b";,\t " if m in content), 0)
        return kind, mark, any(c.isalpha() for c in first.decode("latin1"))
    return (kind,)


TRIANGLE_LINES = re.compile(rb"^f +\S+ +\S+ +\S+ *\r?$", re.M)


def test_there_are_many_kinds():
    others = {
        name: entry["writer"]
        for name, entry in EXPECTED.items()
        if entry["writer"] != "by hand"
        and pathlib.Path(name).suffix
        not in READERS.get(entry["writer"].split()[0], ())
    }
    assert len(others) >= 60
    assert len({kind_of(name) for name in others}) >= 20
    # Libraries, each with its version.
    writers = {writer.split()[0] for writer in others.values()}
    assert len(writers) >= 10
    assert all(len(w.split()) == 2 for w in others.values() if w != "numpy")
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) < 600_000


def broken(content, extension):
    """Harmless damage, each of which a reader can tell."""
    yield "empty", b""
    if extension in TEXTS:
        utf16 = content.startswith(b"\xff\xfe")
        lines = content.decode("utf-16" if utf16 else "utf-8").splitlines()
        half = lines[: len(lines) // 2]
        half.append("v 1.5 x" if extension == ".obj" else "1.5 x")
        yield "ends in a line", "\n".join(half).encode()
        lines[-1] = "no numbers at all"
        yield "a line of words", "\n".join(lines).encode()
    elif extension == ".bin":  # nothing but numbers
        yield "ends early", content[:-1]
        return
    else:
        yield "ends early", content[: len(content) * 6 // 10]
        if extension == ".pcd":
            yield "no data", content.replace(b"DATA", b"DATB")
        elif extension != ".stl":  # whose first bytes are free
            yield "another magic", b"garbage " + content[8:]
    yield "noise", np.random.default_rng(0).bytes(200)


def cases():
    for name in sorted(EXPECTED):
        content = (FOLDER / name).read_bytes()
        for what, damaged in broken(content, pathlib.Path(name).suffix):
            yield name, what, damaged


def test_broken_files_are_refused_by_name(tmp_path):
    count, taken = 0, []
    for name, what, damaged in cases():
        path = tmp_path / name
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_content(path, bin_columns=bin_columns(name))
            except ValueError as error:
                assert str(path) in str(error)
                assert "Received: " in str(error)
                assert len(str(error)) < 300 + len(str(path))
            else:
                taken.append((name, what))
        count += 1
    assert taken == [] and count >= 200


def test_the_extension_may_be_in_capitals(tmp_path):
    shutil.copy(FOLDER / "plain.csv", tmp_path / "PLAIN.CSV")
    assert len(read_content(tmp_path / "PLAIN.CSV").points) == 40
