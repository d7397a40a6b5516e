import keras
import numpy as np
import pytest

from keras_pointpeft.data import FollowEpoch
from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.data import Split
from keras_pointpeft.data import augmentation
from keras_pointpeft.data import unit_sphere
from keras_pointpeft.data.clouds import SAMPLING
from keras_pointpeft.data.clouds import farthest_point_indices

from .conftest import make_clouds

pytestmark = pytest.mark.once


def make_dataset(count=21, points=32, **arguments):
    arguments = {"batch_size": 4, **arguments}
    return PointCloudDataset(
        make_clouds(count, points), np.arange(count), **arguments
    )


RANDOM = {
    "num_points": 16,
    "sampling": "fps_then_random",
    "augmentation": ["scale_translate", "jitter"],
    "shuffle": True,
    "seed": 7,
}


def batches(dataset):
    return [dataset[index] for index in range(len(dataset))]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize(
    "drop_last, expected", [(False, [4, 4, 4, 4, 4, 1]), (True, [4] * 5)]
)
def test_every_cloud_once(drop_last, expected):
    dataset = make_dataset(shuffle=True, drop_last=drop_last)
    sizes = [len(points) for points, _ in batches(dataset)]
    assert sizes == expected
    seen = np.concatenate([labels for _, labels in batches(dataset)])
    assert len(set(seen.tolist())) == sum(expected)


def test_labels_stay_with_their_points():
    dataset = make_dataset(shuffle=True, sampling="first")
    for points, labels in batches(dataset):
        np.testing.assert_array_equal(points, dataset.points[labels])
        assert points.dtype == "float32"


def test_batch_depends_on_seed_epoch_and_index_alone():
    dataset = make_dataset(**RANDOM)
    epochs = []
    for epoch in range(3):
        dataset.epoch = epoch
        epochs.append(batches(dataset))
    other = make_dataset(**RANDOM)
    other.epoch = 2
    # In reverse, alone, twice.
    for index in reversed(range(len(other))):
        assert_same([other[index]], [epochs[2][index]])
        assert_same([other[index]], [epochs[2][index]])
    assert np.abs(epochs[0][0][0] - epochs[1][0][0]).max() > 0.1
    different = make_dataset(**{**RANDOM, "seed": 8})
    assert np.abs(different[0][0] - epochs[0][0][0]).max() > 0.1


def test_random_streams_of_epochs_and_batches_differ():
    # Batch 0 of epoch 1 is not batch 1 of epoch 0, nor are two seeds the same.
    clouds = np.tile(make_clouds(1, 8), (6, 1, 1))
    seen = []
    for seed in range(3):
        dataset = PointCloudDataset(
            clouds, batch_size=1, augmentation="scale_translate", seed=seed
        )
        for dataset.epoch in range(3):
            seen += [points.tobytes() for (points,) in batches(dataset)]
    assert len(set(seen)) == 3 * 3 * 6


def test_same_with_worker_threads():
    expected = batches(make_dataset(**RANDOM))
    dataset = make_dataset(**RANDOM, workers=2)
    got = [None] * len(dataset)

    class Keep(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((16, 3)), Keep()])
    got = model.predict(dataset, verbose=0)
    np.testing.assert_allclose(
        got, np.concatenate([points for points, _ in expected]), atol=1e-7
    )


def test_epoch_advances_with_fit_and_resumes():
    class Record(PointCloudDataset):
        def __getitem__(self, index):
            served.append((self.epoch, index))
            return super().__getitem__(index)

    def run(epochs, initial_epoch=0):
        served.clear()
        dataset = Record(
            make_clouds(40, 8), np.zeros(40), batch_size=2, shuffle=True
        )
        model = keras.Sequential(
            [keras.Input((8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
        model.fit(
            dataset,
            epochs=epochs,
            initial_epoch=initial_epoch,
            shuffle=False,
            verbose=0,
            callbacks=[FollowEpoch(dataset)],
        )
        return dataset.epoch, set(served)

    served = []
    after, whole = run(4)
    assert after == 4
    assert {(e, b) for e in range(4) for b in range(20)} <= whole
    after, resumed = run(4, initial_epoch=2)
    assert after == 4
    assert {(e, b) for e in (2, 3) for b in range(20)} <= resumed


def test_fit_alone_starts_with_epoch_0():
    # Keras first looks at one batch, to build the model.
    dataset = make_dataset(80, 8)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(dataset, epochs=3, shuffle=False, verbose=0)
    assert dataset.epoch == 3


def test_evaluation_sampling_is_fps_and_kept(monkeypatch):
    from keras_pointpeft.data import dataset as module

    calls = []

    def counting(points, count):
        calls.append(len(points))
        return farthest_point_indices(points, count)

    monkeypatch.setattr(module, "farthest_point_indices", counting)
    dataset = make_dataset(6, num_points=8, sampling="fps")
    first = dataset.as_arrays()
    expected = farthest_point_indices(dataset.points, 8)
    for cloud, rows, got in zip(dataset.points, expected, first[0]):
        np.testing.assert_array_equal(got, cloud[rows])
    dataset.epoch = 1
    assert_same([dataset.as_arrays()], [first])
    assert calls == [4, 2]


def test_normalization_comes_before_sampling():
    dataset = make_dataset(4, num_points=8, sampling="first", normalize=True)
    expected = unit_sphere(dataset.points)[:, :8]
    np.testing.assert_array_equal(dataset[0][0], expected)


def test_memory_map(tmp_path):
    np.save(tmp_path / "points.npy", make_clouds(9, 16))
    points = np.load(tmp_path / "points.npy", mmap_mode="r")
    for shuffle in (False, True):
        arguments = {"batch_size": 4, "shuffle": shuffle, "num_points": 8}
        mapped = PointCloudDataset(points, **arguments)
        loaded = PointCloudDataset(make_clouds(9, 16), **arguments)
        assert isinstance(mapped.points, np.memmap)
        assert_same(batches(mapped), batches(loaded))


def test_what_a_batch_holds():
    points = make_clouds(4, 8)
    assert len(PointCloudDataset(points)[0]) == 1
    weighted = PointCloudDataset(
        points, np.arange(4), weights=[0.0, 1, 2, 3], shuffle=True
    )
    _, labels, weights = weighted[0]
    np.testing.assert_array_equal(labels, weights)
    split = Split(points, [0, 1, 0, 1], ("a", "b"))
    assert PointCloudDataset(split)[0][1].tolist() == [0, 1, 0, 1]
    arrays = weighted.as_arrays()
    assert [len(a) for a in arrays] == [4, 4, 4]


@pytest.mark.parametrize("sampling", SAMPLING)
def test_point_labels_stay_with_their_points(sampling):
    points = make_clouds(6, 40)
    point_labels = np.arange(240).reshape(6, 40)
    points[..., 0] = point_labels
    arguments = {
        "batch_size": 4,
        "num_points": 16,
        "sampling": sampling,
        "shuffle": True,
        "point_labels": point_labels,
    }
    for given, targets in batches(PointCloudDataset(points, **arguments)):
        np.testing.assert_array_equal(given[..., 0], targets)
    dataset = PointCloudDataset(points, np.arange(6), **arguments)
    for given, targets in batches(dataset):
        np.testing.assert_array_equal(given["points"][..., 0], targets)
        np.testing.assert_array_equal(given["category"], targets[:, 0] // 40)
    given, targets = dataset.as_arrays()
    assert given["points"].shape == (6, 16, 3) and targets.shape == (6, 16)


def test_too_few_points():
    with pytest.raises(ValueError, match="repeat_points"):
        make_dataset(points=8, num_points=9)
    dataset = make_dataset(points=8, num_points=20, repeat_points=True)
    assert dataset[0][0].shape == (4, 20, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"points": np.zeros((4, 8))},
        {"points": np.zeros((0, 8, 3))},
        {"labels": np.zeros(3)},
        {"weights": np.zeros(3), "labels": np.zeros(4)},
        {"weights": np.zeros(4)},
        {"labels": np.zeros((4, 8))},
        {"point_labels": np.zeros((4, 7))},
        {"batch_size": 0},
        {"batch_size": 5, "drop_last": True},
        {"num_points": 0},
        {"sampling": "all"},
        {"augmentation": "spin"},
        {"seed": -1},
        {"seed": None},
    ],
)
def test_wrong_arguments(arguments):
    points = {"points": np.zeros((4, 8, 3), "float32")}
    with pytest.raises(ValueError, match="Received"):
        PointCloudDataset(**{**points, **arguments})


def test_a_wrong_number_of_points_is_told_with_the_way_on():
    points = np.zeros((4, 8, 3), "float32")
    for num_points, message in ((0, "at least 1"), (9, "repeat_points=True")):
        with pytest.raises(ValueError, match=message):
            PointCloudDataset(points, num_points=num_points)


def test_batch_out_of_range():
    with pytest.raises(IndexError, match="Received: 6"):
        make_dataset()[6]


def test_augmentation_object_is_used():
    turned = make_dataset(4, sampling="first", augmentation="rotate")[0][0]
    given = make_dataset(
        4, sampling="first", augmentation=augmentation.Rotate()
    )[0][0]
    np.testing.assert_array_equal(turned, given)


@pytest.mark.parametrize(
    "count, size, sizes",
    [
        (33, 32, [16, 17]),
        (21, 4, [3, 4, 3, 4, 3, 4]),
        (3, 2, [3]),
        (5, 2, [2, 3]),
        (4, 8, [4]),
        (2, 2, [2]),
        (1, 2, [1]),
    ],
)
def test_even_batches_leave_no_cloud_alone(count, size, sizes):
    batches = make_dataset(count, batch_size=size, even=True, shuffle=True)
    served = [batches[index][1] for index in range(len(batches))]
    assert [len(labels) for labels in served] == sizes
    assert sorted(np.concatenate(served)) == list(range(count))


def test_balanced_epochs_have_as_many_of_each_class():
    labels = np.array([0] * 20 + [1] * 4 + [2] * 3)
    batches = PointCloudDataset(
        make_clouds(27, 16),
        labels,
        batch_size=9,
        shuffle=True,
        balanced=True,
    )
    epochs = []
    for batches.epoch in (0, 1):
        rows = np.concatenate([batches.indices(i) for i in range(3)])
        assert np.bincount(labels[rows]).tolist() == [9, 9, 9]
        # Every rare cloud, and none of the frequent ones twice.
        assert set(range(20, 27)) <= set(rows.tolist())
        frequent = rows[rows < 20]
        assert len(set(frequent.tolist())) == len(frequent)
        epochs.append(rows)
    assert not np.array_equal(*epochs)
    with pytest.raises(ValueError, match="needs `shuffle=True`"):
        PointCloudDataset(make_clouds(4, 16), np.arange(4), balanced=True)
    with pytest.raises(ValueError, match="either even or complete"):
        make_dataset(4, even=True, drop_last=True)
