import keras
import numpy as np
import pytest

from keras_pointpeft import ops
from keras_pointpeft.ops.points import PointOperation

from . import clouds


def functional(count):
    points = keras.Input((count, 3))
    centers = ops.gather(points, ops.farthest_point_sample(points, 8))
    near = ops.gather(points, ops.knn(centers, points, k=4))
    neighbors, offsets = ops.group(points, centers, k=4)
    back = ops.interpolate(points, centers, centers, k=None)
    outputs = {
        "near": near,
        "neighbors": neighbors,
        "offsets": offsets,
        "back": back,
        "ball": ops.ball_query(centers, points, radius=0.5, k=6),
        "squared": ops.squared_distances(points, centers),
    }
    return keras.Model(points, outputs)


@pytest.mark.parametrize("count", [None, 50])
def test_functional_model(count):
    model = functional(count)
    shapes = {name: x.shape for name, x in model.output.items()}
    assert shapes == {
        "near": (None, 8, 4, 3),
        "neighbors": (None, 8, 4),
        "offsets": (None, 8, 4, 3),
        "back": (None, count, 3),
        "ball": (None, 8, 6),
        "squared": (None, count, 8),
    }
    copy = keras.Model.from_config(model.get_config())
    for batch in (3, 1):
        points = clouds.make("uniform", batch, 50)
        index = ops.farthest_point_sample(points, 8)
        centers = ops.gather(points, index)
        neighbors = ops.knn(centers, points, 4)
        expected = ops.gather(points, neighbors)
        expected = keras.ops.convert_to_numpy(expected)
        for same in (model, copy):
            found = same.predict(points, verbose=0)
            np.testing.assert_array_equal(found["near"], expected)
            np.testing.assert_array_equal(found["neighbors"], neighbors)
            offsets = expected - keras.ops.convert_to_numpy(centers)[:, :, None]
            np.testing.assert_array_equal(found["offsets"], offsets)
            assert found["squared"].shape == (batch, 50, 8)


def test_saves_and_loads(tmp_path):
    model = functional(50)
    path = str(tmp_path / "model.keras")
    model.save(path)
    points = clouds.make("uniform", 2, 50)
    ours, theirs = (
        m.predict(points, verbose=0)["back"]
        for m in (model, keras.models.load_model(path))
    )
    np.testing.assert_array_equal(ours, theirs)


def test_a_file_may_name_the_module_where_a_function_stood():
    config = {
        "function": "sampling.farthest_point_sample",
        "options": {"num_samples": 8},
    }
    points = clouds.make("uniform", 2, 50)
    np.testing.assert_array_equal(
        PointOperation.from_config(config)(points),
        ops.farthest_point_sample(points, 8),
    )


def test_arrays_beside_symbolic_tensors():
    fixed = clouds.make("uniform", 1, 9)
    points = keras.Input((20, 3), batch_size=1)
    model = keras.Model(points, ops.squared_distances(fixed, points))
    given = clouds.make("uniform", 1, 20, seed=1)
    expected = clouds.distances(fixed[0], given[0])
    np.testing.assert_array_equal(model.predict(given, verbose=0)[0], expected)


def test_too_many_samples_show_when_the_model_is_built():
    points = keras.Input((10, 3))
    with pytest.raises(ValueError, match="num_samples.*Received"):
        ops.farthest_point_sample(points, 11)
    with pytest.raises(ValueError, match="`k`.*Received"):
        ops.knn(points, points, 11)
