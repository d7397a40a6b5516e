import dataclasses
import pickle

import numpy as np
import pytest

from keras_pointpeft.data import Split
from keras_pointpeft.data import load_few_shot
from keras_pointpeft.data import sample_episode

from .conftest import make_clouds

pytestmark = pytest.mark.once


def test_official_layout(few_shot):
    train, test = load_few_shot(few_shot, ways=5, shots=10, fold=0)
    assert len(train) == 50 and len(test) == 100
    assert train.class_names == tuple(f"class{i}" for i in range(5))
    assert np.bincount(test.labels).tolist() == [20] * 5
    with open(few_shot / "5way_10shot" / "0.pkl", "rb") as file:
        cloud = pickle.load(file)["train"][3][0][:, :3]
    cloud = cloud - cloud.mean(axis=0)
    cloud /= np.linalg.norm(cloud, axis=1).max()
    np.testing.assert_allclose(train.points[3], cloud, atol=1e-6)
    again, _ = load_few_shot(few_shot.parent)
    np.testing.assert_array_equal(again.points, train.points)


def test_missing_fold(few_shot):
    with pytest.raises(FileNotFoundError, match="10way_20shot/3.pkl"):
        load_few_shot(few_shot, 10, 20, 3)


CLOUD = np.random.default_rng(0).normal(size=(8, 6))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"train": []},
        {"train": [], "test": []},
        {"train": 1, "test": []},
        {"train": {"a": CLOUD}, "test": []},
        {"train": [CLOUD], "test": []},
        {"train": [(CLOUD, "a", 0)], "test": []},
        {"train": [(CLOUD, 5, 0)], "test": []},
        {"train": [(CLOUD, 0), (CLOUD[:4], 1)], "test": []},
        {"train": [(CLOUD * np.nan, 0)], "test": []},
    ],
)
def test_wrong_content(few_shot, content):
    path = few_shot / "5way_10shot" / "0.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="0.pkl.*Received"):
        load_few_shot(few_shot)


class Runs:
    def __reduce__(self):
        return print, ("run",)


def test_code_in_an_episode_is_not_run(few_shot, capsys):
    path = few_shot / "5way_10shot" / "0.pkl"
    path.write_bytes(pickle.dumps({"train": [(CLOUD, Runs())], "test": []}))
    with pytest.raises(pickle.UnpicklingError, match="0.pkl.*print"):
        load_few_shot(few_shot)
    assert "run" not in capsys.readouterr().out


def make_split(name="split", seed=0):
    labels = np.repeat(np.arange(6), (30, 30, 30, 30, 5, 30))
    return Split(
        make_clouds(len(labels), 4, seed=seed),
        labels,
        tuple("abcdef"),
        [f"{name}{i}" for i in range(len(labels))],
        name,
    )


def test_episode():
    split = make_split()
    support, query = sample_episode(split, 4, 10, queries=20, seed=1)
    assert np.bincount(support.labels).tolist() == [10] * 4
    assert np.bincount(query.labels).tolist() == [20] * 4
    assert not set(support.ids) & set(query.ids)
    assert "e" not in support.class_names
    origin = {i: split.class_names[c] for i, c in zip(split.ids, split.labels)}
    for part in (support, query):
        for cloud, label in zip(part.ids, part.labels):
            assert origin[cloud] == part.class_names[label]


def test_episode_depends_on_the_seed_alone():
    ids = [sample_episode(make_split(), 3, 5, 5, s)[0].ids for s in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_queries_of_another_split():
    support, query = sample_episode(
        make_split("train"), 3, 30, 20, test=make_split("test", 1)
    )
    assert all(i.startswith("train") for i in support.ids)
    assert all(i.startswith("test") for i in query.ids)


def test_an_episode_keeps_what_clouds_have_beside_their_labels():
    split = make_split()
    count, points, _ = split.points.shape
    # Each point says of which cloud it is.
    own = np.repeat(np.arange(count), points).reshape(count, points)
    source = {"dataset": "folder", "up_axis": "z", "channels": ("intensity",)}
    split = dataclasses.replace(
        split,
        part_labels=own,
        channels=own[..., None].astype("float32"),
        source=source,
    )
    for part in sample_episode(split, 2, 3, 2, seed=1):
        numbers = [split.ids.index(name) for name in part.ids]
        np.testing.assert_array_equal(part.points, split.points[numbers])
        np.testing.assert_array_equal(part.channels, split.channels[numbers])
        np.testing.assert_array_equal(part.part_labels, own[numbers])
        assert part.source == source


@pytest.mark.parametrize("ways, shots, queries", [(6, 5, 5), (2, 0, 5)])
def test_impossible_episode(ways, shots, queries):
    with pytest.raises(ValueError, match="Received: ways"):
        sample_episode(make_split(), ways, shots, queries)
