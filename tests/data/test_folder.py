import io
import json
import sys
import zipfile

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.data import load_folder
from keras_pointpeft.data import read_cloud
from keras_pointpeft.data.contract import contract_of
from keras_pointpeft.data.geometry_files import surface_points
from keras_pointpeft.experiments.predicting import find_files
from keras_pointpeft.training import Recipe

from .conftest import make_clouds

pytestmark = pytest.mark.once

CLOUD = make_clouds(1, 40)[0]


def write_cloud(path, cloud=CLOUD):
    path.parent.mkdir(parents=True, exist_ok=True)
    extension = path.suffix
    if extension == ".npy":
        np.save(path, cloud)
    elif extension == ".npz":
        np.savez(path, points=cloud, other=np.zeros(3))
    elif extension == ".csv":
        np.savetxt(path, cloud, "%.9g", delimiter=",")
    else:
        np.savetxt(path, cloud, "%.9g")
    return path


@pytest.mark.parametrize("extension", ["npy", "npz", "csv", "txt", "xyz"])
def test_clouds(tmp_path, extension):
    wide = np.concatenate([CLOUD, np.ones((40, 3), "f4")], axis=1)
    path = write_cloud(tmp_path / f"cloud.{extension}", wide)
    np.testing.assert_allclose(read_cloud(path), CLOUD, rtol=1e-6)


@pytest.mark.parametrize("layout", ["{split}/{name}", "{name}/{split}"])
def test_layouts(tmp_path, layout):
    for split, count in (("train", 3), ("test", 2)):
        for name in ("mug", "lamp"):
            folder = tmp_path / layout.format(split=split, name=name)
            for number in range(count):
                write_cloud(folder / f"{number}.npy", CLOUD + number)
            (folder / "notes.md").write_text("no cloud")
    train = load_folder(tmp_path, "train", num_points=40, normalize=False)
    assert train.class_names == ("lamp", "mug")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = layout.format(split="train", name="lamp") + "/1.npy"
    assert train.ids[1] == expected
    np.testing.assert_allclose(train.points[1], CLOUD + 1)
    assert len(load_folder(tmp_path, "test", num_points=40)) == 4


def test_no_splits(tmp_path):
    write_cloud(tmp_path / "mug" / "a.npy")
    assert len(load_folder(tmp_path, None, num_points=40)) == 1
    with pytest.raises(FileNotFoundError, match="split=None"):
        load_folder(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="<class>"):
        load_folder(tmp_path / "nowhere", None)


def test_random_choice_depends_on_the_seed(tmp_path):
    write_cloud(tmp_path / "mug" / "a.npy")

    def load(seed):
        return load_folder(
            tmp_path, None, num_points=10, normalize=False, seed=seed
        ).points[0]

    np.testing.assert_array_equal(load(0), load(0))
    assert np.abs(load(0) - load(1)).max() > 0.01
    assert {tuple(p) for p in load(0)} <= {tuple(p) for p in CLOUD}
    assert len({tuple(p) for p in load(0)}) == 10


def test_bad_files(tmp_path):
    infinite = CLOUD.copy()
    infinite[3] = np.inf
    write_cloud(tmp_path / "mug" / "a.npy")
    write_cloud(tmp_path / "mug" / "b.npy", infinite)
    write_cloud(tmp_path / "mug" / "c.npy", CLOUD[:9])
    (tmp_path / "mug" / "d.txt").write_text("1 2\n")
    (tmp_path / "mug" / "e.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "mug" / "f.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="5 of 6 clouds.*mug/b.npy: 1 points"):
        load_folder(tmp_path, None, num_points=20)
    with pytest.warns(UserWarning, match="5 of 6"):
        split = load_folder(tmp_path, None, num_points=20, on_bad="skip")
    assert split.ids == ("mug/a.npy",)


def test_small_clouds_can_be_filled(tmp_path):
    write_cloud(tmp_path / "mug" / "c.npy", CLOUD[:9])
    points = load_folder(
        tmp_path, None, num_points=20, repeat_points=True, normalize=False
    ).points[0]
    np.testing.assert_array_equal(points[:9], CLOUD[:9])
    assert {tuple(p) for p in points} == {tuple(p) for p in CLOUD[:9]}


def test_pickled_arrays_are_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="a.npy"):
        read_cloud(tmp_path / "a.npy")


def test_headers_that_declare_too_much(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {"descr": "<f4", "fortran_order": False, "shape": (10**11, 3)},
    )
    (tmp_path / "a.npy").write_bytes(header.getvalue() + b"\0" * 24)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", header.getvalue() + b"\0" * 24)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=name):
            read_cloud(tmp_path / name)
    write_cloud(tmp_path / "mug" / "b.npy")
    with pytest.raises(ValueError, match="max_bytes"):
        load_folder(tmp_path, None, num_points=10**10)


def test_map_coordinates_keep_their_digits(tmp_path):
    far = CLOUD.astype("float64") + (500000, 5400000, 0)
    np.savetxt(tmp_path / "far.xyz", far, "%.4f")
    np.save(tmp_path / "far.npy", far)
    for name in ("far.xyz", "far.npy"):
        points = read_cloud(tmp_path / name)
        assert points.dtype == "float64"
        np.testing.assert_allclose(points, far, rtol=0, atol=1e-4)


def test_unknown_extension():
    with pytest.raises(ValueError, match="cloud.doc"):
        read_cloud("cloud.doc")


def test_surface_points_are_uniform_over_the_area():
    # A square of area 4 from two triangles, and a triangle of area 1 above.
    vertices = [
        (0, 0, 0), (2, 0, 0), (2, 2, 0), (0, 2, 0),
        (0, 0, 1), (2, 0, 1), (0, 1, 1),
    ]  # fmt: skip
    faces = [(0, 1, 2), (0, 2, 3), (4, 5, 6)]
    points = surface_points(vertices, faces, 20000, np.random.default_rng(0))
    assert points.shape == (20000, 3) and points.dtype == "float64"
    above = points[:, 2] > 0.5
    assert abs(above.mean() - 0.2) < 0.015
    square = points[~above]
    cells = np.histogram2d(square[:, 0], square[:, 1], 4)[0]
    assert np.abs(cells / cells.mean() - 1).max() < 0.15
    triangle = points[above]
    assert (triangle[:, 0] / 2 + triangle[:, 1] <= 1 + 1e-5).all()
    with pytest.raises(ValueError, match="area"):
        surface_points(vertices, [(0, 0, 1)], 5, np.random.default_rng(0))


OFF = """OFF
4 4 6
0 0 0
1 0 0
0 1 0
0 0 1
3 0 2 1
3 0 1 3
3 0 3 2
3 1 2 3
"""


def test_meshes(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    (tmp_path / "chair" / "train").mkdir(parents=True)
    (tmp_path / "chair" / "train" / "chair_0001.off").write_text(OFF)
    mesh = trimesh.load(tmp_path / "chair" / "train" / "chair_0001.off")
    for extension in ("obj", "ply", "stl"):
        mesh.export(tmp_path / "chair" / "train" / f"chair.{extension}")
    split = load_folder(tmp_path, "train", num_points=256, normalize=False)
    assert split.points.shape == (4, 256, 3)
    for cloud in split.points:
        x, y, z = cloud.T
        on_a_side = np.minimum.reduce([x, y, z, np.abs(1 - x - y - z)])
        assert np.abs(on_a_side).max() < 1e-5
    trimesh.PointCloud(CLOUD).export(tmp_path / "points.ply")
    np.testing.assert_allclose(
        read_cloud(str(tmp_path / "points.ply")), CLOUD, rtol=1e-6
    )
    (tmp_path / "bad.ply").write_bytes(b"ply\nnothing")
    with pytest.raises(ValueError, match="bad.ply"):
        read_cloud(str(tmp_path / "bad.ply"))


def test_scans(tmp_path):
    laspy = pytest.importorskip("laspy")
    scan = laspy.create(point_format=3, file_version="1.2")
    scan.header.scales = [0.001] * 3
    far = CLOUD.astype("float64") + (500000, 5400000, 0)
    scan.header.offsets = [500000, 5400000, 0]
    scan.x, scan.y, scan.z = far.T
    scan.write(str(tmp_path / "a.las"))
    points = read_cloud(str(tmp_path / "a.las"))
    np.testing.assert_allclose(points, far, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "name, package",
    [
        ("a.stl", "trimesh"),
        ("a.las", "laspy"),
        ("a.laz", "lazrs"),
        ("a.e57", "pye57"),
    ],
)
def test_missing_packages_are_named(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}.*\[mesh\]"):
        read_cloud(name)


def test_hidden_nested_and_unread_files_are_told(tmp_path):
    write_cloud(tmp_path / "train" / "pump" / "1.npy")
    write_cloud(tmp_path / "train" / "valve" / "site_a" / "1.npy")
    write_cloud(tmp_path / "train" / ".ipynb_checkpoints" / "1.npy")
    write_cloud(tmp_path / "train" / "pump" / "._1.npy")
    (tmp_path / "train" / "pump" / "2.rcp").write_text("x")
    (tmp_path / "train" / "pump" / "3.rcp").write_text("x")
    (tmp_path / "test" / "tank").mkdir(parents=True)
    with pytest.warns(UserWarning) as told:
        split = load_folder(tmp_path, "train", num_points=40)
    assert split.class_names == ("pump", "tank", "valve")
    assert split.ids == ("train/pump/1.npy", "train/valve/site_a/1.npy")
    texts = " ".join(str(warning.message) for warning in told)
    assert "2 .rcp" in texts and "1 of 3 classes" in texts and "tank" in texts


def test_linked_folders_are_read_once(tmp_path):
    """Training and prediction find the same files, through links too."""
    write_cloud(tmp_path / "disk" / "pump" / "site" / "1.npy")
    write_cloud(tmp_path / "set" / "train" / "valve" / "2.npy")
    write_cloud(tmp_path / "set" / "train" / "valve" / "__MACOSX" / "3.npy")
    train = tmp_path / "set" / "train"
    (train / "pump").symlink_to(tmp_path / "disk" / "pump")
    # Back up, from inside: what is above is there already.
    (train / "valve" / "loop").symlink_to(tmp_path / "set")
    # To and fro between two places.
    (tmp_path / "disk" / "pump" / "to").symlink_to(tmp_path / "disk" / "more")
    write_cloud(tmp_path / "disk" / "more" / "4.npy")
    (tmp_path / "disk" / "more" / "fro").symlink_to(tmp_path / "disk" / "pump")
    expected = ("pump/site/1.npy", "pump/to/4.npy", "valve/2.npy")
    split = load_folder(tmp_path / "set", "train", num_points=40)
    assert split.ids == tuple(f"train/{name}" for name in expected)
    found = find_files(train)
    assert [path.removeprefix(f"{train}/") for path in found] == [*expected]


def test_a_link_to_nowhere_is_a_bad_scan(tmp_path):
    write_cloud(tmp_path / "pump" / "1.npy")
    (tmp_path / "pump" / "2.npy").symlink_to(tmp_path / "nowhere.npy")
    with pytest.raises(ValueError, match="1 of 2 clouds.*pump/2.npy"):
        load_folder(tmp_path, None, num_points=40)
    with pytest.warns(UserWarning, match="1 of 2 clouds.*pump/2.npy"):
        split = load_folder(tmp_path, None, num_points=40, on_bad="skip")
    assert split.ids == ("pump/1.npy",)


def test_a_label_means_the_same_in_each_split(tmp_path):
    for name in ("ball", "box", "pole"):
        write_cloud(tmp_path / "train" / name / "1.npy")
    write_cloud(tmp_path / "test" / "pole" / "1.npy")
    with pytest.warns(UserWarning, match="2 of 3 classes have no cloud"):
        test = load_folder(tmp_path, "test", num_points=40)
    assert test.class_names[test.labels[0]] == "pole" and test.num_classes == 3


def test_classes_in_a_given_order(tmp_path):
    for name in ("ball", "box"):
        write_cloud(tmp_path / name / "1.npy")
    split = load_folder(
        tmp_path, None, num_points=40, class_names=["box", "ball"]
    )
    assert [split.class_names[label] for label in split.labels] == [
        "ball",
        "box",
    ]
    with pytest.raises(ValueError, match="'ball'"):
        load_folder(tmp_path, None, num_points=40, class_names=["box"])


def test_raw_rows_are_read_where_told(tmp_path):
    rows = np.c_[CLOUD, np.ones(40)].astype("<f4")
    (tmp_path / "mug").mkdir()
    rows.tofile(tmp_path / "mug" / "a.bin")
    with pytest.raises(ValueError, match="bin_columns"):
        load_folder(tmp_path, None, num_points=40)
    split = load_folder(tmp_path, None, num_points=40, bin_columns=4)
    assert len(split) == 1


def test_parts_of_files_with_labels(tmp_path):
    labels = np.arange(40) % 4
    (tmp_path / "mug").mkdir()
    np.savetxt(
        tmp_path / "mug" / "a.txt",
        np.c_[CLOUD, labels],
        header="x y z label",
        comments="",
    )
    np.savez(tmp_path / "mug" / "b.npz", points=CLOUD, labels=labels)
    split = load_folder(
        tmp_path, None, num_points=30, normalize=False, part_labels=True
    )
    for cloud, parts in zip(split.points, split.part_labels):
        distance = np.abs(cloud[:, None] - CLOUD).max(axis=-1)
        np.testing.assert_array_equal(parts, labels[distance.argmin(axis=1)])
    write_cloud(tmp_path / "mug" / "c.npy")
    with pytest.raises(ValueError, match="mug/c.npy: it must have a label"):
        load_folder(tmp_path, None, num_points=30, part_labels=True)


def test_what_points_have_beside_their_place(tmp_path):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (40, 3))
    normals = np.eye(3)[np.arange(40) % 3]
    (tmp_path / "mug").mkdir()
    table = np.c_[CLOUD, normals, colors]
    np.savetxt(
        tmp_path / "mug" / "a.txt",
        table,
        header="x y z nx ny nz r g b",
        comments="",
    )
    options = {"num_points": 30, "normalize": False}
    split = load_folder(
        tmp_path, None, channels=("colors", "normals"), up_axis="z", **options
    )
    assert split.channels.shape == (1, 30, 6)
    # z up becomes y up: (x, y, z) to (x, z, -y).
    placed = CLOUD[:, [0, 2, 1]] * (1, 1, -1)
    turned = normals[:, [0, 2, 1]] * (1, 1, -1)
    distance = np.abs(split.points[0][:, None] - placed).max(axis=-1)
    rows = distance.argmin(axis=1)
    np.testing.assert_allclose(
        split.channels[0],
        np.c_[colors[rows] / 255, turned[rows]],
        atol=1e-6,
    )
    batch, _ = PointCloudDataset(
        split, num_points=20, sampling="random", augmentation="scale_translate"
    )[0]
    assert batch.shape == (1, 20, 9) and batch.dtype == "float32"
    taken = split.take([0]).channels[0]
    for row in batch[0][:, 3:]:
        assert np.abs(taken - row).max(axis=1).min() == 0
    with pytest.raises(ValueError, match="its points have no intensity"):
        load_folder(tmp_path, None, channels=("intensity",), **options)
    with pytest.raises(ValueError, match="`channels` must be"):
        load_folder(tmp_path, None, channels=("taste",), **options)
    with pytest.raises(ValueError, match="`channels` must have"):
        PointCloudDataset(split.points, channels=np.zeros((1, 29, 3)))


@pytest.mark.parametrize("up_axis", [None, "z"])
def test_drawn_as_of_the_whole_cloud(tmp_path, up_axis):
    """Scans are drawn from where they lie in the file, without a copy."""
    rng = np.random.default_rng(0)
    cloud = rng.normal(0, 3, (1000, 3)).round(3)
    rows = np.c_[cloud, cloud[:, 0]].astype("<f4")
    place = tmp_path / "scan"
    place.mkdir()
    np.save(place / "a.npy", rows)
    np.save(place / "b.npy", np.asfortranarray(cloud))
    np.save(place / "c.npy", (1000 * cloud).astype("int32"))
    np.savetxt(place / "d.xyz", cloud)
    rows.tofile(place / "e.bin")
    header = (
        "ply\nformat binary_{}_endian 1.0\nelement vertex 1000\n"
        "property {k} x\nproperty {k} y\nproperty {k} z\n"
        "property {k} intensity\nend_header\n"
    )
    for name, kind, order in (("f", "float", "<f4"), ("g", "double", ">f8")):
        way = {"<": "little", ">": "big"}[order[0]]
        text = header.format(way, k=kind).encode()
        path = place / f"{name}.ply"
        path.write_bytes(text + rows.astype(order).tobytes())
    (place / "h.pcd").write_bytes(
        b"FIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n"
        b"COUNT 1 1 1 1\nPOINTS 1000\nDATA binary\n" + rows.tobytes()
    )
    split = load_folder(
        tmp_path, None, 64, seed=3, up_axis=up_axis, bin_columns=4
    )
    assert len(split) == 8
    for number, path in enumerate(sorted(place.iterdir())):
        cloud = data.read_cloud(path, up_axis=up_axis, bin_columns=4)
        assert cloud.flags.owndata and cloud.flags.writeable, path
        assert cloud.flags.c_contiguous, path
        rng = np.random.default_rng((3, number))
        chosen = rng.choice(1000, 64, replace=False)
        expected = data.unit_sphere(cloud[chosen])
        np.testing.assert_array_equal(split.points[number], expected)


def test_dark_scans_stay_dark(tmp_path):
    """One range of colours for a set, unless the files tell it."""
    (tmp_path / "a").mkdir()
    for name, brightest in (("dark", 1), ("light", 200)):
        colors = np.resize([0, brightest], (40, 3))
        for kind in ("%.18e", "%d"):
            np.savetxt(
                tmp_path / "a" / f"{name}{len(kind)}.txt",
                np.c_[CLOUD, colors],
                fmt=["%.18e"] * 3 + [kind] * 3,
                header="x y z r g b",
                comments="",
            )
    options = {"num_points": 40, "normalize": False, "channels": ("colors",)}
    split = load_folder(tmp_path, None, **options)
    np.testing.assert_allclose(
        split.channels.max(axis=(1, 2)) * 255, [1, 1, 200, 200], rtol=1e-6
    )
    assert split.source == {"channels": ("colors",), "color_range": 255.0}
    contract = contract_of(split, Recipe(epochs=1, num_points=40))
    assert contract.channels == ("colors",) and contract.color_range == 255
    again = data.Contract.from_dict(json.loads(json.dumps(contract.to_dict())))
    assert again.channels == ("colors",) and again.color_range == 255
    split = load_folder(tmp_path, None, color_range=1.0, **options)
    assert split.channels.max() == 200
    with pytest.raises(ValueError, match="`color_range` is the number"):
        load_folder(tmp_path, None, color_range=0.0, **options)
    content = data.read_content(tmp_path / "a" / "dark2.txt")
    with pytest.raises(ValueError, match="`color_range` must say which"):
        content.channels(("colors",))


def test_the_brightest_colour_of_scans(tmp_path):
    """It decides of all scans, drawn or not, that can be used."""
    (tmp_path / "a").mkdir()
    colors = np.full((200, 3), 0.5)
    points = np.resize(CLOUD, (200, 3))
    colors[8] = 200.0  # is not drawn
    np.savez(tmp_path / "a" / "0.npz", points=points, colors=colors)
    np.savez(tmp_path / "a" / "1.npz", points=points, colors=colors * np.nan)
    colors[:] = 60000.0
    far = points / (111320, 111320, 1) + (8.5, 47.3, 400)
    np.savez(tmp_path / "a" / "2.npz", points=far, colors=colors)
    with pytest.warns(UserWarning, match="2 of 3"):
        split = load_folder(
            tmp_path, None, 16, channels=("colors",), on_bad="skip"
        )
    assert split.source["color_range"] == 255
    np.testing.assert_allclose(split.channels, 0.5 / 255, rtol=1e-6)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_colours_of_one_byte_need_no_guess(tmp_path, form):
    rows = np.zeros(40, "f4,f4,f4,u1,u1,u1")
    for axis in range(3):
        rows[f"f{axis}"], rows[f"f{3 + axis}"] = CLOUD[:, axis], axis % 2
    header = (
        f"ply\nformat {form} 1.0\nelement vertex 40\nproperty float x\n"
        "property float y\nproperty float z\nproperty uchar red\n"
        "property uchar green\nproperty uchar blue\nend_header\n"
    )
    body = rows.tobytes()
    if form == "ascii":
        body = "\n".join(" ".join(map(str, row)) for row in rows).encode()
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "dark.ply"
    path.write_bytes(header.encode() + body + b"\n" * (form == "ascii"))
    split = load_folder(tmp_path, None, 40, channels=("colors",))
    expected = np.tile(np.float32([0, 1 / 255, 0]), (1, 40, 1))
    np.testing.assert_allclose(split.channels, expected, rtol=1e-6)
    assert split.source["color_range"] == 255
    # Another set of the model's may have files that do not tell.
    for told in (65535.0, None):
        split = data.load(
            "folder",
            tmp_path,
            None,
            num_points=40,
            channels=("colors",),
            color_range=told,
        )
        np.testing.assert_allclose(split.channels, expected, rtol=1e-6)
        assert split.source["color_range"] == (told or 255)
