import json

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data.shapenet import PART_FOLDER

from .conftest import make_clouds

pytestmark = pytest.mark.once

SHAPES = {
    "train": [("02691156", "a1"), ("03001627", "b1")],
    "val": [("02691156", "a2")],
    "test": [("03001627", "b2"), ("02691156", "a3")],
}


@pytest.fixture
def part_root(tmp_path):
    root = tmp_path / PART_FOLDER
    (root / "train_test_split").mkdir(parents=True)
    (root / "synsetoffset2category.txt").write_text(
        "Airplane\t02691156\nChair\t03001627\n"
    )
    rng = np.random.default_rng(0)
    for split, shapes in SHAPES.items():
        listed = [f"shape_data/{synset}/{name}" for synset, name in shapes]
        path = root / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.write_text(json.dumps(listed))
        for number, (synset, name) in enumerate(shapes):
            (root / synset).mkdir(exist_ok=True)
            count = 60 + 5 * number
            first = {"02691156": 0, "03001627": 12}[synset]
            part = first + rng.integers(0, 4, count)
            rows = np.c_[rng.normal(size=(count, 6)), part]
            np.savetxt(root / synset / f"{name}.txt", rows, "%.6f")
    return root


def read(root, synset, name):
    return np.loadtxt(root / synset / f"{name}.txt")


def test_parts(part_root):
    split = data.load_shapenetpart(part_root, "test", num_points=50)
    assert split.points.shape == (2, 50, 3)
    assert split.class_names == ("Airplane", "Chair")
    assert split.labels.tolist() == [1, 0]
    assert split.ids == ("03001627/b2", "02691156/a3")
    rows = read(part_root, "02691156", "a3")
    cloud = rows[:, :3] - rows[:, :3].mean(axis=0)
    cloud /= np.linalg.norm(cloud, axis=1).max()
    for point, part in zip(split.points[1], split.part_labels[1]):
        nearest = np.abs(cloud - point).max(axis=1)
        assert nearest.min() < 1e-6
        assert part == rows[nearest.argmin(), 6]


def test_all_points(part_root):
    split = data.load("shapenetpart", part_root.parent, "test", num_points=None)
    assert split.points.shape == (2, 65, 3)
    assert len(np.unique(split.points[0], axis=0)) == 60
    assert len(np.unique(split.points[1], axis=0)) == 65


def test_splits_and_seed(part_root):
    assert len(data.load_shapenetpart(part_root)) == 3
    assert len(data.load_shapenetpart(part_root, "train")) == 2
    one, same, other = (
        data.load_shapenetpart(part_root, seed=s).points for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_missing_files(tmp_path, part_root):
    with pytest.raises(FileNotFoundError, match="synsetoffset2category.txt"):
        data.load_shapenetpart(tmp_path / "nowhere")
    (part_root / "02691156" / "a1.txt").unlink()
    with pytest.raises(FileNotFoundError, match="a1.txt"):
        data.load_shapenetpart(part_root)


@pytest.mark.parametrize(
    "column, value, reason",
    [(0, np.nan, "NaN"), (6, 50, "part label 50"), (6, 0.5, "not integers")],
)
def test_bad_parts(part_root, column, value, reason):
    rows = read(part_root, "02691156", "a3")
    rows[4, column] = value
    np.savetxt(part_root / "02691156" / "a3.txt", rows)
    arguments = {"split": "test", "num_parts": 50}
    with pytest.raises(ValueError, match=f"02691156/a3: .*{reason}"):
        data.load_shapenetpart(part_root, **arguments)
    with pytest.warns(UserWarning, match="1 of 2"):
        split = data.load_shapenetpart(part_root, on_bad="skip", **arguments)
    assert split.ids == ("03001627/b2",)


@pytest.mark.parametrize("line", ["0 0 0 0 0 1\n", "0 0 0 0 0", "x y z\n"])
def test_ragged_and_truncated_lines(part_root, line):
    with open(part_root / "02691156" / "a3.txt", "a") as file:
        file.write(line)
    with pytest.raises(ValueError, match="a3.txt"):
        data.load_shapenetpart(part_root, "test")
    with pytest.warns(UserWarning, match="1 of 2 .*a3.txt"):
        split = data.load_shapenetpart(part_root, "test", on_bad="skip")
    assert split.ids == ("03001627/b2",)


@pytest.mark.parametrize(
    "text", ['["shape_data/999/x"]', '["shape_data/02691156/.."]', "[", '["x"]']
)
def test_wrong_list(part_root, text):
    path = part_root / "train_test_split" / "shuffled_test_file_list.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="shuffled_test_file_list.json"):
        data.load_shapenetpart(part_root, "test")


@pytest.fixture
def shapenet55(tmp_path):
    (tmp_path / "ShapeNet-55").mkdir()
    (tmp_path / "shapenet_pc").mkdir()
    names = ["04099429-x.npy", "02691156-y.npy", "04099429-z.npy"]
    for name, cloud in zip(names, make_clouds(3, 80)):
        np.save(tmp_path / "shapenet_pc" / name, cloud)
    (tmp_path / "ShapeNet-55" / "train.txt").write_text("\n".join(names))
    return tmp_path


def test_shapenet55(shapenet55):
    split = data.load("shapenet55", shapenet55, normalize=False)
    np.testing.assert_array_equal(split.points, make_clouds(3, 80))
    assert split.class_names == ("02691156", "04099429")
    assert split.labels.tolist() == [1, 0, 1]
    small = data.load_shapenet55(shapenet55, num_points=20)
    assert small.points.shape == (3, 20, 3)
    radius = np.linalg.norm(small.points, axis=-1).max(axis=1)
    np.testing.assert_allclose(radius, 1, rtol=1e-5)
    with pytest.raises(FileNotFoundError, match="test.txt"):
        data.load_shapenet55(shapenet55, "test")


def test_shapenet55_shapes_of_other_sizes(shapenet55):
    clouds = shapenet55 / "shapenet_pc"
    np.save(clouds / "04099429-x.npy", np.full((5, 3), np.nan))
    np.save(clouds / "04099429-z.npy", make_clouds(1, 81)[0])
    message = (
        "2 of 3 clouds .*04099429-x.npy: NaN or infinity; "
        "04099429-z.npy: 81 points, not 80 as 02691156-y.npy"
    )
    with pytest.raises(ValueError, match=message):
        data.load_shapenet55(shapenet55)
    with pytest.warns(UserWarning, match="1 of 3 "):
        split = data.load_shapenet55(shapenet55, num_points=80, on_bad="skip")
    assert split.points.shape == (2, 80, 3)
    message = "2 of 3 clouds .*02691156-y.npy: 80 points, fewer than 81"
    with pytest.raises(ValueError, match=message):
        data.load_shapenet55(shapenet55, num_points=81)


def test_shapenet55_bad_shapes(shapenet55):
    np.save(shapenet55 / "shapenet_pc" / "02691156-y.npy", np.zeros((7, 3)))
    with pytest.raises(ValueError, match="02691156-y.npy: 7 points"):
        data.load_shapenet55(shapenet55)
    with pytest.warns(UserWarning, match="1 of 3"):
        split = data.load_shapenet55(shapenet55, on_bad="skip")
    assert split.ids == ("04099429-x", "04099429-z")
    (shapenet55 / "shapenet_pc" / "04099429-z.npy").write_bytes(b"no array")
    with pytest.warns(UserWarning, match="2 of 3 .*04099429-z.npy"):
        split = data.load_shapenet55(shapenet55, on_bad="skip")
    assert split.ids == ("04099429-x",)
    path = shapenet55 / "ShapeNet-55" / "train.txt"
    path.write_text("../../x.npy")
    with pytest.raises(ValueError, match="Received: '../../x.npy'"):
        data.load_shapenet55(shapenet55)
