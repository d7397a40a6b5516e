"""Sets with many files, and sets that stay on the disk."""

import json

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.data import Room
from keras_pointpeft.data import predict_room

from .conftest import make_clouds
from .conftest import write_h5

pytestmark = pytest.mark.once


@pytest.fixture
def thousand(tmp_path):
    """A thousand clouds of two kinds, one of which cannot be read."""
    clouds = make_clouds(1000, 16)
    for number, cloud in enumerate(clouds):
        folder = tmp_path / "scans" / ("mug", "lamp")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number:04}.npy", cloud)
    (tmp_path / "scans/lamp/0613.npy").write_bytes(b"no array")
    return tmp_path / "scans"


def test_one_bad_file_among_a_thousand(thousand):
    with pytest.raises(ValueError, match="1 of 1000 .*lamp/0613.npy"):
        data.load_folder(thousand, None, num_points=16)
    with pytest.warns(UserWarning, match="1 of 1000 .*lamp/0613.npy"):
        split = data.load_folder(thousand, None, num_points=16, on_bad="skip")
    assert len(split) == 999 and "lamp/0613.npy" not in split.ids
    np.testing.assert_array_equal(np.bincount(split.labels), [499, 500])


def test_points_may_stay_on_the_disk(thousand, tmp_path):
    path = tmp_path / "points.npy"
    options = {"num_points": 16, "on_bad": "skip"}
    with pytest.warns(UserWarning):
        stored = data.load_folder(
            thousand, None, storage=path, max_bytes=1000 * 16, **options
        )
    with pytest.warns(UserWarning):
        memory = data.load_folder(thousand, None, **options)
    assert isinstance(stored.points, np.memmap)
    assert stored.take(np.arange(5)).points.shape == (5, 16, 3)
    np.testing.assert_array_equal(stored.points, memory.points)
    batches = PointCloudDataset(stored, batch_size=32, shuffle=True, seed=1)
    assert isinstance(batches.points, np.memmap)
    expected = PointCloudDataset(memory, batch_size=32, shuffle=True, seed=1)
    np.testing.assert_array_equal(batches[3][0], expected[3][0])


def parts(folder, pid, **extra):
    """`hdf5_data` of PointNet's release, with one file for each list."""
    for name in ("train", "val", "test"):
        write_h5(
            folder / f"ply_data_{name}0.h5",
            make_clouds(4, 32),
            np.array([[0], [1], [0], [1]], "uint8"),
            pid=pid,
            **extra,
        )
        listing = folder / f"{name}_hdf5_file_list.txt"
        listing.write_text(f"ply_data_{name}0.h5\n")
    names = "Airplane\t02691156\nBag\t02773838\n"
    (folder / "all_object_categories.txt").write_text(names)
    return folder


def test_parts_in_h5_files(tmp_path):
    pid = np.arange(4 * 32).reshape(4, 32).astype("uint8") % 50
    folder = parts(tmp_path, pid)
    split = data.load("shapenetpart", folder, split="trainval", num_parts=50)
    assert len(split) == 8 and split.class_names == ("Airplane", "Bag")
    np.testing.assert_array_equal(split.part_labels[:4], pid)
    np.testing.assert_array_equal(split.labels[:4], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="parts must lie.*Received: 0..49"):
        data.load("shapenetpart", folder, split="test", num_parts=20)
    (folder / "test_hdf5_file_list.txt").write_text("../other.h5\n")
    with pytest.raises(FileNotFoundError, match="other.h5"):
        data.load("shapenetpart", folder, split="test")


def test_broken_h5_parts(tmp_path):
    folder = parts(tmp_path, np.zeros((4, 32), "uint8"))
    path = folder / "ply_data_test0.h5"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="ply_data_test0.h5"):
        data.load("shapenetpart", folder, split="test")
    write_h5(path, make_clouds(4, 32), np.zeros(4, int))
    with pytest.raises(ValueError, match="no data set 'pid'"):
        data.load("shapenetpart", folder, split="test")
    pid = np.zeros((4, 32), "uint8")
    write_h5(path, make_clouds(4, 32), [0, 1, 2, 0], pid=pid)
    with pytest.raises(ValueError, match="2: label 2 outside of 0..1"):
        data.load("shapenetpart", folder, split="test")
    with pytest.warns(UserWarning, match="1 of 4"):
        split = data.load("shapenetpart", folder, split="test", on_bad="skip")
    assert len(split.part_labels) == 3


def test_h5_parts_need_part_labels(tmp_path):
    folder = parts(tmp_path, np.zeros((4, 31), "uint8"))
    with pytest.raises(ValueError, match="'pid' must have the shape"):
        data.load("shapenetpart", folder, split="test")


def test_a_list_of_parts_that_is_no_json(tmp_path):
    (tmp_path / "synsetoffset2category.txt").write_text("Bag\t02773838\n")
    lists = tmp_path / "train_test_split"
    lists.mkdir()
    path = lists / "shuffled_test_file_list.json"
    for text in ("not json", "1", '{"shape_data/02773838/a": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="must be a JSON list"):
            data.load("shapenetpart", tmp_path, split="test")
    path.write_text(json.dumps(["shape_data/../../etc/passwd"]))
    with pytest.raises(ValueError, match="must list shape_data"):
        data.load("shapenetpart", tmp_path, split="test")


@pytest.mark.slow
def test_a_room_of_a_million_points_in_bounded_memory():
    import tracemalloc

    rng = np.random.default_rng(0)
    points = rng.uniform(0, (20, 10, 3), (1_000_000, 3)).astype("float32")
    points[0] = 0  # the corner and the ground
    labels = (points[:, 2] > 1.5).astype("int32")

    def predict(batch):
        assert batch.shape[0] <= 32
        return np.stack([1.5 - batch[..., 2], batch[..., 2] - 1.5], axis=-1)

    tracemalloc.start()
    found = predict_room(predict, Room(points, labels, "hall"), 2, votes=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found == labels).all()
    # The room takes 16 MB, its blocks, each point in about four, 80.
    assert peak < 400 * 2**20


def test_what_a_scene_takes_grows_little_with_its_points():
    import tracemalloc

    def predict(batch):
        return np.stack([1.5 - batch[..., 2], batch[..., 2] - 1.5], axis=-1)

    peaks, counts = [], (100_000, 400_000)
    for count in counts:
        # 8 points a square metre on a map, as from an airplane.
        side = (count / 8) ** 0.5
        points = np.random.default_rng(0).uniform(0, side, (count, 3))
        points[:, 2] *= 3 / side
        points[0] = 0
        labels = points[:, 2] > 1.5 * 15
        points += (4e5, 5.4e6, 352)
        tracemalloc.start()
        found = predict_room(predict, points, 2, column_size=15.0, stride=15.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found == labels).all()
    # Beside the points, 24 bytes: an order by x, and votes of two classes.
    assert np.diff(peaks)[0] < 36 * np.diff(counts)[0]
