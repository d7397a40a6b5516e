"""What comes in is looked at, whatever way it comes."""

import keras
import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data.incoming import Door
from keras_pointpeft.data.incoming import integer_labels
from keras_pointpeft.step.losses import WeightedCrossentropy

pytestmark = pytest.mark.once

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(6, 64, 3)).astype("float32")
LABELS = np.arange(6) % 3
DOOR = Door(3, fewest_points=32, integer_labels=True)
POINT_DOOR = Door(3, 32, per_point=True, integer_labels=True)


def with_nan():
    points = POINTS.copy()
    points[4, 3, 1] = np.nan
    return points


BAD_POINTS = {
    "one cloud": (POINTS[0], r"points\[None\]"),
    "channels": (POINTS[..., :2], r"\(clouds, points, 3\)"),
    "nan": (with_nan(), "clouds number 4"),
    "overflow": (POINTS.astype("float64") * 1e39, "float32 cannot hold"),
    "map": (POINTS + np.array([4e5, 5.4e6, 352.0]), "float64"),
    "millimetres": (POINTS * 1000, "unit"),
    "few points": (POINTS[:, :16], "need 32 points"),
    "no clouds": (POINTS[:0], "no clouds"),
    "ragged": ([POINTS[0], POINTS[1, :50]], "equally many points"),
    "names": (np.full((2, 64, 3), "a"), "numbers"),
}
BAD_LABELS = {
    "from 1": (LABELS + 1, "subtract 1"),
    "below 0": (LABELS - 1, "between 0 and 2"),
    "beyond": (LABELS * 5, r"\[5, 10\] \(4 of 6\)"),
    "one-hot": (np.eye(3)[LABELS], "argmax"),
    "names": (np.array(["a", "b", "c"] * 2), "index"),
    "fractions": (LABELS + 0.5, "whole numbers"),
    "nan": (np.where(LABELS == 1, np.nan, LABELS), "whole numbers"),
    "too few": (LABELS[:4], "as many labels"),
    "for points": (np.zeros((6, 64), int), "one label for each cloud"),
}


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.parts


def as_dataset(x, y):
    torch = pytest.importorskip("torch")
    rows = list(zip(torch.as_tensor(x), torch.as_tensor(y)))
    return torch.utils.data.DataLoader(rows, batch_size=6)


# Ways in: each brings the first batch through the door.
WAYS = {
    "arrays": lambda x, y: DOOR.source(x, y),
    "lists": lambda x, y: DOOR.source(
        [np.asarray(c) for c in x], np.asarray(y).tolist()
    ),
    "tensors": lambda x, y: DOOR.source(
        keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)
    ),
    "dict": lambda x, y: DOOR.source({"points": x}, y),
    "data set": lambda x, y: DOOR.source(Batches(x, y))[0][0],
    "generator": lambda x, y: next(DOOR.source((b for b in [(x, y)]))[0]),
    "loader": lambda x, y: next(iter(DOOR.source(as_dataset(x, y))[0])),
}


@pytest.mark.parametrize("way", WAYS)
def test_good_data_pass_by_every_way(way):
    x, y = WAYS[way](POINTS, LABELS)
    x = x["points"] if isinstance(x, dict) else x
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(x), POINTS)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), LABELS)


@pytest.mark.parametrize("way", ["arrays", "data set", "generator"])
@pytest.mark.parametrize("what", BAD_POINTS)
def test_points_that_no_model_takes(what, way):
    points, message = BAD_POINTS[what]
    with pytest.raises(ValueError, match=message) as error:
        WAYS[way](points, LABELS[: len(points)])
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("way", ["arrays", "data set", "generator"])
@pytest.mark.parametrize("what", BAD_LABELS)
def test_labels_that_no_loss_takes(what, way):
    labels, message = BAD_LABELS[what]
    with pytest.raises(ValueError, match=message) as error:
        WAYS[way](POINTS, labels)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("way", ["lists", "tensors", "dict", "loader"])
def test_other_ways_are_looked_at_too(way):
    with pytest.raises(ValueError, match="clouds number 4"):
        WAYS[way](with_nan(), LABELS)
    with pytest.raises(ValueError, match="between 0 and 2"):
        WAYS[way](POINTS, LABELS + 5)


def test_tf_data():
    tf = pytest.importorskip("tensorflow")
    good = tf.data.Dataset.from_tensors((POINTS, LABELS))
    x, y = next(iter(DOOR.source(good)[0]))
    np.testing.assert_array_equal(x, POINTS)
    bad = tf.data.Dataset.from_tensors((POINTS, LABELS + 1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="subtract 1"):
        next(iter(DOOR.source(bad)[0]))
    # A task tells what was refused, not a page of TensorFlow's.
    door = Door(3, fewest_points=32, integer_labels=True)
    with pytest.raises(ValueError, match="subtract 1") as error:
        with door.telling():
            next(iter(door.source(bad)[0]))
    assert len(str(error.value)) < 300
    with pytest.raises(KeyError):
        with Door(3).telling():
            {}["what is not the door's"]


def test_points_without_a_label():
    labels = np.zeros((6, 64), "uint8")
    labels[:, :5] = 255
    labels[:, 5:9] = 2
    x, y = POINT_DOOR.source(POINTS, labels)
    assert (y[:, :5] == -1).all() and (y[:, 5:9] == 2).all()
    _, y = POINT_DOOR.source(POINTS, np.full((6, 64), -1))
    assert (y == -1).all()
    with pytest.raises(ValueError, match="-1 or 255"):
        POINT_DOOR.source(POINTS, labels + 3)
    with pytest.raises(ValueError, match="one label for each point"):
        POINT_DOOR.source(POINTS, np.zeros((6, 60), int))


def test_one_hot_labels_of_a_loss_that_takes_them():
    door = Door(3, integer_labels=False)
    door.source(POINTS, np.eye(3)[LABELS])
    with pytest.raises(ValueError, match="sparse"):
        door.source(POINTS, LABELS)
    assert integer_labels(keras.losses.CategoricalCrossentropy()) is False
    assert integer_labels("sparse_categorical_crossentropy") is True
    assert integer_labels(WeightedCrossentropy()) is True
    assert integer_labels(keras.losses.MeanSquaredError()) is None


def test_categories():
    door = Door(3, 32, True, num_categories=2, integer_labels=True)
    x = {"points": POINTS, "category": LABELS % 2}
    door.source(x, np.zeros((6, 64), int))
    assert set(door.inputs([POINTS, LABELS % 2])) == {"points", "category"}
    with pytest.raises(ValueError, match='"category"'):
        door.inputs(POINTS)
    with pytest.raises(ValueError, match="between 0 and 1"):
        door.inputs({"points": POINTS, "category": LABELS})
    with pytest.raises(ValueError, match="one category"):
        door.inputs({"points": POINTS, "category": LABELS[:3] % 2})


def test_the_loss_of_points_without_a_label():
    scores = RNG.normal(size=(2, 8, 3)).astype("float32")
    labels = RNG.integers(0, 3, (2, 8))
    labels[:, 5:] = -1
    weighted = WeightedCrossentropy((1.0, 2.0, 4.0))
    for loss, weights in (
        (weighted, np.array((1.0, 2.0, 4.0))),
        (
            keras.losses.SparseCategoricalCrossentropy(True, ignore_class=-1),
            np.ones(3),
        ),
    ):
        logp = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        picked = np.take_along_axis(logp, np.maximum(labels, 0)[..., None], -1)
        weight = weights[np.maximum(labels, 0)] * (labels >= 0)
        expected = -(weight * picked[..., 0]).sum() / weight.sum()
        found = float(loss(labels, scores))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_data_sets_keep_their_epochs():
    inner = data.PointCloudDataset(POINTS, LABELS, batch_size=3, shuffle=True)
    outer, _ = DOOR.source(inner)
    assert outer.num_batches == len(inner) == 2
    outer.on_epoch_begin()
    outer[1]
    outer.on_epoch_end()
    assert inner.epoch == 1
