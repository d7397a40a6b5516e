import sys
import types

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data import procedural

pytestmark = pytest.mark.once


def test_public_names():
    for name in data.__all__:
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        data.nothing


def test_names():
    assert data.list_datasets() == sorted(
        [
            "scanobjectnn",
            "scanobjectnn_objbg",
            "scanobjectnn_objonly",
            "modelnet40",
            "modelnet10",
            "h5",
            "folder",
            "shapenetpart",
            "shapenet55",
            "s3dis",
            "programs",
            "rooms",
            "shapes",
        ]
    )
    with pytest.raises(ValueError, match="Received: 'shapenet99'"):
        data.load("shapenet99")
    with pytest.raises(ValueError, match="data_dir"):
        data.load("modelnet40")
    with pytest.raises(ValueError, match="data_dir"):
        data.load("shapes", "somewhere")


@pytest.mark.parametrize(
    "name, option, taken",
    [
        ("shapes", "test_area", "'num_clouds'"),
        ("programs", "domain", "'num_clouds'"),
        ("s3dis", "test_aera", "'test_area'"),
        ("modelnet10", "num_classes", "'layout'"),
    ],
)
def test_options_that_a_loader_does_not_take(name, option, taken, tmp_path):
    folder = None if name in data.PROCEDURAL else tmp_path
    message = f"The options of .{name}. are .*{taken}.*Received: .'{option}'"
    with pytest.raises(ValueError, match=message):
        data.load(name, folder, **{option: 2})


@pytest.fixture
def shapes(monkeypatch, tmp_path):
    """Stands in for the generator, and counts."""
    calls = []

    def make_shapes(num_clouds, domain, num_points=16, seed=0, start=0):
        calls.append((num_clouds, domain, num_points, seed, start))
        rng = np.random.default_rng(seed)
        return types.SimpleNamespace(
            points=rng.normal(size=(num_clouds, num_points, 3)).astype("f4"),
            labels=rng.integers(0, 2, num_clouds),
            part_labels=rng.integers(0, 4, (num_clouds, num_points)),
            class_names=("mug", "lamp"),
            part_names=("body", "handle", "foot", "shade"),
        )

    module = types.ModuleType("keras_pointpeft.data.shapes")
    module.make_shapes = make_shapes
    module.VERSION = 1
    module.calls = calls
    # First, for it is the attribute of now that comes back afterwards.
    monkeypatch.setattr(data, "shapes", module)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return module


@pytest.mark.parametrize(
    "split, expected",
    [
        ("train", (1600, "scan", 16, 1, 0)),
        ("test", (1000, "scan", 16, 2, 0)),
        ("pretrain", (10000, "clean", 16, 0, 0)),
    ],
)
def test_published_splits_of_the_shapes(shapes, split, expected):
    loaded = data.load("shapes", split=split)
    assert shapes.calls == [expected]
    assert len(loaded) == expected[0]
    assert loaded.part_labels.shape == (expected[0], 16)
    assert loaded.class_names == ("mug", "lamp")


def test_options_of_the_shapes(shapes, tmp_path):
    data.load(
        "shapes",
        num_clouds=5,
        num_points=8,
        domain="clean",
        seed=9,
        start=3,
    )
    assert shapes.calls == [(5, "clean", 8, 9, 3)]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="split"):
        data.load("shapes", split="val")


def test_shapes_are_made_once(shapes, tmp_path):
    plain = data.load("shapes", num_clouds=6)
    first = data.load("shapes", num_clouds=6, cache=True)
    second = data.load("shapes", num_clouds=6, cache=True)
    assert len(shapes.calls) == 2
    for cached in (first, second):
        assert isinstance(cached.points, np.memmap)
        for name in ("points", "labels", "part_labels"):
            np.testing.assert_array_equal(
                getattr(cached, name), getattr(plain, name)
            )
        assert cached.class_names == plain.class_names
    folders = list((tmp_path / "keras_pointpeft").iterdir())
    assert len(folders) == 1 and folders[0].name.startswith("shapes-")
    data.load("shapes", num_clouds=7, cache=True)
    shapes.VERSION = 2
    data.load("shapes", num_clouds=6, cache=True)
    assert len(shapes.calls) == 4


def test_a_failed_writer_leaves_no_half_cache(shapes, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(procedural.np, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        data.load("shapes", num_clouds=6, cache=True)
    assert list((tmp_path / "keras_pointpeft").iterdir()) == []


def test_second_writer_uses_the_first_ones_cache(shapes):
    make = shapes.make_shapes

    def slow(**arguments):
        # While this one makes its clouds, another one finishes.
        shapes.make_shapes = make
        data.load("shapes", num_clouds=6, cache=True)
        return make(**arguments)

    shapes.make_shapes = slow
    split = data.load("shapes", num_clouds=6, cache=True)
    assert len(split) == 6
