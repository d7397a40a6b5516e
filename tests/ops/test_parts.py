import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import PatchEncoder
from keras_pointpeft.ops.arithmetic import in_parts


def clouds(batch, groups=64, size=100):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(batch, groups, size, 3)).astype("float32")
    return ops.convert_to_tensor(points)


@pytest.mark.parametrize("batch", (1, 2, 5, 8))
def test_parts_together_are_the_whole(batch):
    seen = []

    def function(x):
        seen.append(x.shape[0])
        return ops.max(x, axis=2) ** 2

    x = clouds(batch)
    found = ops.convert_to_numpy(in_parts(function, x))
    assert sum(seen) == batch
    if keras.config.backend() == "torch":
        assert max(seen) <= 2
    np.testing.assert_array_equal(found, ops.convert_to_numpy(function(x)))


def test_no_cloud_of_encoded_patches_depends_on_another():
    encoder = PatchEncoder(8, (4, 6, 8), frozen_statistics=True)
    x = clouds(5)
    whole = ops.convert_to_numpy(encoder(x, training=True))
    for i in range(5):
        alone = ops.convert_to_numpy(encoder(x[i : i + 1], training=True))
        np.testing.assert_allclose(alone[0], whole[i], atol=1e-6)


def test_batch_statistics_are_of_the_whole_batch():
    encoder = PatchEncoder(8, (4, 6, 8))
    x = clouds(5)
    together = ops.convert_to_numpy(encoder(x, training=True))
    alone = ops.convert_to_numpy(encoder(x[:2], training=True))
    assert np.abs(together[:2] - alone).max() > 1e-4
