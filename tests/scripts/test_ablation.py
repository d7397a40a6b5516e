"""What an ablation trains on, and a probe of a backbone."""

import numpy as np
import pytest

from keras_pointpeft.data import make_shapes
from keras_pointpeft.data.splits import Split
from tests.conftest import load_file

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def clouds():
    made = make_shapes(30, "clean", 64, categories=("mug", "chair", "car"))
    return Split(made.points, made.labels, made.class_names)


def test_a_seed_draws_as_many_of_each_class(clouds):
    ablation = load_file("scripts/ablation.py")
    shots, few = ablation.drawn(clouds, 4, seed=1)
    assert shots == 4
    np.testing.assert_array_equal(np.bincount(few.labels), [4, 4, 4])
    again, other = (ablation.drawn(clouds, 4, seed)[1] for seed in (1, 2))
    np.testing.assert_array_equal(few.points, again.points)
    assert not np.array_equal(few.points, other.points)
    with pytest.raises(ablation.app.UsageError, match="10 clouds of mug"):
        ablation.drawn(clouds, 11, seed=0)


def test_a_probe_tells_shapes_apart(clouds):
    pytest.importorskip("sklearn")
    import keras_pointpeft

    probe = load_file("scripts/probe.py")
    backbone = keras_pointpeft.from_preset("pointmaetiny_shapes")
    train, test = clouds.take(np.arange(21)), clouds.take(np.arange(21, 30))
    found = probe.probe(backbone, train, test, 0, num_points=64, epochs=8)
    # Nine clouds of three classes that it was pre-trained on.
    assert min(found) > 60
