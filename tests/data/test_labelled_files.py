"""Labels of points, written back in the format they came in."""

import pathlib

import numpy as np
import pytest

from keras_pointpeft.data.formats.text import encoding_of
from keras_pointpeft.data.geometry_files import TEXTS
from keras_pointpeft.data.geometry_files import read_vertices
from keras_pointpeft.data.labelled_files import write_labels

pytestmark = pytest.mark.once

FILES = pathlib.Path(__file__).parent / "files"
RNG = np.random.default_rng(0)
POINTS = RNG.uniform(0, 5, (50, 3)).astype("float32")
LABELS = RNG.integers(0, 3, 50)


def test_text_keeps_its_columns_and_header(tmp_path):
    path = tmp_path / "scan.xyz"
    rows = [
        f"{x:.4f},{y:.4f},{z:.4f},{i}" for i, (x, y, z) in enumerate(POINTS)
    ]
    path.write_text("x,y,z,number\n" + "\n".join(rows) + "\n")
    written = write_labels(path, LABELS, tmp_path / "out")
    lines = open(written).read().splitlines()
    assert lines[0] == "x,y,z,number,label"
    assert lines[1:] == [f"{row},{k}" for row, k in zip(rows, LABELS)]


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(FILES.iterdir()) if path.suffix in TEXTS],
    ids=lambda path: path.name,
)
def test_text_as_other_programs_write_it(tmp_path, path):
    points = read_vertices(path).points
    labels = np.arange(len(points)) % 7
    written = write_labels(path, labels, tmp_path)
    np.testing.assert_array_equal(read_vertices(written).points, points)
    with open(path, encoding=encoding_of(path)) as file:
        before = file.read().splitlines()
    after = open(written, encoding="utf-8").read().splitlines()
    assert [new[: len(old)] for new, old in zip(after, before)] == before
    added = [new[len(old) :].strip(" \t,;|") for new, old in zip(after, before)]
    assert [int(text) for text in added if text.isdigit()] == labels.tolist()


def test_arrays(tmp_path):
    table = np.column_stack((POINTS, np.arange(50)))
    np.save(tmp_path / "scan.npy", table)
    written = write_labels(tmp_path / "scan.npy", LABELS, tmp_path / "out")
    found = np.load(written)
    np.testing.assert_array_equal(found[:, :4], table)
    np.testing.assert_array_equal(found[:, 4], LABELS)
    named = np.zeros(50, [*((n, "f8") for n in "xyz"), ("label", "i1")])
    for axis, values in zip("xyz", POINTS.T):
        named[axis] = values
    for rows in (named, named[[*"xyz"]]):  # with labels of its own, without
        np.save(tmp_path / "named.npy", rows)
        content = read_vertices(
            write_labels(tmp_path / "named.npy", LABELS, tmp_path / "out")
        )
        np.testing.assert_array_equal(content.points, POINTS)
        np.testing.assert_array_equal(content.labels, LABELS)
    np.savez(tmp_path / "two.npz", points=POINTS, colors=POINTS)
    with np.load(
        write_labels(tmp_path / "two.npz", LABELS, tmp_path / "out")
    ) as found:
        np.testing.assert_array_equal(found["colors"], POINTS)
        np.testing.assert_array_equal(found["label"], LABELS)


@pytest.mark.parametrize("extension", ["las", "laz"])
def test_scans_at_map_coordinates(tmp_path, extension):
    laspy = pytest.importorskip("laspy")
    scan = laspy.create(point_format=3, file_version="1.2")
    scan.header.offsets, scan.header.scales = [4e5, 5.4e6, 300], [1e-3] * 3
    scan.x, scan.y, scan.z = (POINTS + [4e5, 5.4e6, 352]).T
    scan.intensity = np.arange(50)
    path = tmp_path / f"scan.{extension}"
    scan.write(path)
    found = laspy.read(write_labels(path, LABELS, tmp_path / "out"))
    np.testing.assert_array_equal(found["label"], LABELS)
    np.testing.assert_array_equal(found.intensity, np.arange(50))
    np.testing.assert_array_equal(found.X, scan.X)


@pytest.mark.parametrize("text", [True, False])
def test_ply_keeps_its_properties_and_faces(tmp_path, text):
    plyfile = pytest.importorskip("plyfile")
    data = np.empty(50, [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1")])
    data["x"], data["y"], data["z"] = (POINTS + [4e5, 5.4e6, 352]).T
    data["red"] = np.arange(50)
    faces = np.empty(1, [("vertex_indices", "i4", (3,))])
    faces["vertex_indices"] = [[0, 1, 2]]
    path = tmp_path / "scan.ply"
    elements = [("vertex", data), ("face", faces)]
    elements = [plyfile.PlyElement.describe(d, n) for n, d in elements]
    plyfile.PlyData(elements, text=text).write(path)
    found = plyfile.PlyData.read(write_labels(path, LABELS, tmp_path / "out"))
    np.testing.assert_array_equal(found["vertex"]["label"], LABELS)
    for name in data.dtype.names:
        np.testing.assert_array_equal(found["vertex"][name], data[name])
    assert found["face"].count == 1


def test_another_format_becomes_ply(tmp_path):
    plyfile = pytest.importorskip("plyfile")
    path = tmp_path / "scan.obj"
    path.write_text("\n".join(f"v {x} {y} {z}" for x, y, z in POINTS))
    written = write_labels(path, LABELS, tmp_path / "out")
    found = plyfile.PlyData.read(written)["vertex"]
    np.testing.assert_array_equal(found["label"], LABELS)
    np.testing.assert_allclose(
        np.stack([found[a] for a in "xyz"], 1), POINTS, atol=1e-6
    )


def test_raw_numbers_become_ply(tmp_path):
    path = tmp_path / "scan.bin"
    np.c_[POINTS, LABELS].astype("<f4").tofile(path)
    content = read_vertices(
        write_labels(path, LABELS, tmp_path / "out", bin_columns=4)
    )
    np.testing.assert_array_equal(content.points, POINTS)
    np.testing.assert_array_equal(content.labels, LABELS)
    with pytest.raises(ValueError, match="bin_columns"):
        write_labels(path, LABELS, tmp_path / "out")


def test_nothing_is_lost(tmp_path):
    path = tmp_path / "scan.xyz"
    np.savetxt(path, POINTS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="to another folder"):
        write_labels(path, LABELS, tmp_path)
    with pytest.raises(ValueError, match="has 50 points.*7 labels"):
        write_labels(path, LABELS[:7], tmp_path / "out")
    assert path.read_bytes() == before
    assert not list((tmp_path / "out").iterdir())
