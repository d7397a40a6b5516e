import numpy as np
import pytest

from keras_pointpeft.data import Split
from keras_pointpeft.data import train_validation_split

from .conftest import make_clouds

pytestmark = pytest.mark.once


def make_split(labels, classes=4):
    labels = np.asarray(labels)
    names = tuple(f"class{i}" for i in range(classes))
    ids = [f"cloud{i}" for i in range(len(labels))]
    parts = np.tile(np.arange(len(labels))[:, None], (1, 8))
    return Split(
        make_clouds(len(labels), 8), labels, names, ids, part_labels=parts
    )


def test_types_and_length():
    split = Split(np.zeros((3, 5, 3)), [0, 1, 1], ["a", "b"])
    assert split.points.dtype == "float32"
    assert split.labels.dtype == "int32"
    assert split.class_names == ("a", "b")
    assert (len(split), split.num_classes) == (3, 2)


def test_memory_map_is_kept(tmp_path):
    np.save(tmp_path / "points.npy", make_clouds(3, 5))
    points = np.load(tmp_path / "points.npy", mmap_mode="r")
    split = Split(points, [0, 0, 0], ["a"])
    assert isinstance(split.points, np.memmap)


@pytest.mark.parametrize(
    "change",
    [
        {"points": np.zeros((3, 5, 4))},
        {"points": np.zeros((3, 5))},
        {"labels": [0, 1]},
        {"labels": [0, 1, 2]},
        {"labels": [0, -1, 1]},
        {"ids": ["x"]},
        {"part_labels": np.zeros((3, 4))},
        {"part_labels": np.full((3, 5), 2), "part_names": ["p", "q"]},
    ],
)
def test_what_does_not_fit_is_refused(change):
    good = {
        "points": np.zeros((3, 5, 3)),
        "labels": [0, 1, 1],
        "class_names": ["a", "b"],
    }
    with pytest.raises(ValueError, match="Received"):
        Split(**{**good, **change})


def test_take_keeps_everything_together():
    split = make_split([0, 1, 2, 3])
    part = split.take([2, 0], "part")
    assert part.ids == ("cloud2", "cloud0")
    assert part.labels.tolist() == [2, 0]
    assert part.part_labels[:, 0].tolist() == [2, 0]
    np.testing.assert_array_equal(part.points, split.points[[2, 0]])
    masked = split.take(np.array([True, False, False, True]))
    assert masked.ids == ("cloud0", "cloud3")


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_division_is_stratified(fraction):
    labels = np.repeat(np.arange(4), (40, 20, 11, 5))
    split = make_split(labels)
    training, validation = train_validation_split(split, fraction, seed=3)
    assert len(validation) == round(fraction * len(split))
    assert set(training.ids) | set(validation.ids) == set(split.ids)
    assert not set(training.ids) & set(validation.ids)
    given = np.bincount(validation.labels, minlength=4)
    exact = np.bincount(labels) * fraction
    assert (np.abs(given - exact) < 1).all()


def test_a_class_keeps_its_last_cloud():
    split = make_split([0] * 9 + [1])
    training, _ = train_validation_split(split, 0.9)
    assert set(training.labels) == {0, 1}


def test_division_depends_on_the_seed_alone():
    split = make_split(np.arange(80) % 4)
    first = train_validation_split(split, 0.2, seed=1)[1].ids
    assert first == train_validation_split(split, 0.2, seed=1)[1].ids
    assert first != train_validation_split(split, 0.2, seed=2)[1].ids


@pytest.mark.parametrize("fraction", [0, 1, 1.5])
def test_fraction_is_checked(fraction):
    with pytest.raises(ValueError, match="fraction"):
        train_validation_split(make_split([0, 1]), fraction)
