import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import NearMask
from keras_pointpeft.layers import TokenPooling
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import Full
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.training.optimizer import decay_groups

METHODS = {
    "plain": lambda: None,
    "dapt": lambda: DAPT(rank=4),
    "dapt_every_block": lambda: DAPT(rank=4, position=None),
    "full": Full,
    "linear": LinearProbe,
}


def hierarchy(peft=None, **kwargs):
    """Three stages that build and run in no time."""
    config = {
        "num_groups": (16, 8, 4),
        "group_sizes": (8, 4, 4),
        "dims": (12, 18, 24),
        "depths": (2, 2, 2),
        "num_heads": 3,
        "radii": (0.8, 1.2, 1.6),
        "encoder_dims": (8, 8, 16),
        **kwargs,
    }
    return PointM2AEBackbone(peft=peft, **config)


def classifier(peft=None, **kwargs):
    return PointCloudClassifier(hierarchy(peft, **kwargs), 3, head_dims=(16,))


def numbers(model):
    return {v.path: int(np.prod(v.shape)) for v in model.trainable_variables}


@pytest.mark.parametrize("method", METHODS)
def test_round_trip_and_independence(method, clouds, tmp_path):
    points, labels = clouds
    model = classifier(METHODS[method]())
    model.fit(points, labels, epochs=1, verbose=0)
    together = model.predict(points, verbose=0)
    alone = model.predict(points, batch_size=1, verbose=0)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    model.save_to_preset(str(tmp_path))
    again = PointCloudClassifier.from_preset(str(tmp_path))
    np.testing.assert_array_equal(again.predict(points, verbose=0), together)
    assert again.backbone.get_config() == model.backbone.get_config()


def test_outputs(clouds):
    outputs = hierarchy()(clouds[0])
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        "patch_tokens": (6, 4, 24),
        "centers": (6, 4, 3),
    }
    outputs = hierarchy(DAPT(rank=4))(clouds[0])
    assert tuple(outputs["prompt_tokens"].shape) == (6, 2, 24)
    assert tuple(outputs["patch_tokens"].shape) == (6, 4, 24)
    stage = hierarchy(DAPT(rank=4)).features((0, 1, 2))(clouds[0])
    assert [tuple(x.shape[1:]) for x in stage] == [(17, 12), (18, 12), (9, 18)]


def test_tokens_see_only_their_neighbours():
    """Moving one far point changes no token that cannot see it."""
    rng = np.random.default_rng(0)
    near = rng.normal(scale=0.1, size=(1, 40, 3))
    far = near + 10.0
    points = np.concatenate((near, far), axis=1).astype("float32")
    moved = points.copy()
    moved[:, 40:] += 1.0
    for peft, same in ((None, True), (DAPT(rank=4), False)):
        backbone = hierarchy(peft, depths=(1, 3, 2))
        up = [v for v in backbone.weights if v.path.endswith("up/kernel")]
        for variable in up:
            variable.assign(rng.normal(size=variable.shape))
        tokens = backbone.features((3,))
        before = ops.convert_to_numpy(tokens(points)[0])[:, -8:]
        after = ops.convert_to_numpy(tokens(moved)[0])[:, -8:]
        centers = keras.Model(
            backbone.input, backbone.get_layer("patches_1").output[0]
        )
        index = ops.convert_to_numpy(centers(points))[0, :, 0] < 5.0
        assert 0 < index.sum() < 8
        # Prompts alone carry news from afar.
        equal = np.allclose(before[0][index], after[0][index], atol=1e-5)
        assert equal == same


def test_prompts_stay_in_their_stage(clouds):
    """The next stage gathers patch tokens, whatever stands before them."""
    plain, tuned = hierarchy(), hierarchy(DAPT(rank=4, sites=()))
    values = {v.path: v for v in plain.weights}
    for variable in tuned.weights:
        if variable.path in values:
            variable.assign(values[variable.path])
    first = [m.get_layer("patch_encoder_1").output for m in (plain, tuned)]
    models = [keras.Model(m.input, x) for m, x in zip((plain, tuned), first)]
    shapes = [tuple(m(clouds[0]).shape) for m in models]
    assert shapes == [(6, 8, 18)] * 2


def test_near_mask_is_that_of_distances():
    centers = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    mask = ops.convert_to_numpy(NearMask(1.0)(centers))
    gaps = np.linalg.norm(centers[:, :, None] - centers[:, None], axis=-1)
    np.testing.assert_array_equal(mask, gaps < 1.0)
    with pytest.raises(ValueError, match="radius=0"):
        NearMask(0)


def test_pooling_side_by_side():
    tokens = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    pool = TokenPooling(None, None, "mean,max_but_first")
    feature = ops.convert_to_numpy(pool({"patch_tokens": tokens}))
    expected = (tokens.mean(axis=1), tokens[:, 1:].max(axis=1))
    np.testing.assert_allclose(
        feature, np.concatenate(expected, axis=1), atol=1e-6
    )
    shape = pool.compute_output_shape({"patch_tokens": (2, 5, 3)})
    assert shape == (2, 6)
    with pytest.raises(ValueError, match="mean,maximum"):
        TokenPooling(None, None, "mean,maximum")


def test_what_trains():
    backbone = numbers(hierarchy(Full()))
    assert backbone == numbers(hierarchy())
    assert not numbers(hierarchy(LinearProbe()))
    tuned = numbers(hierarchy(DAPT(rank=4)))
    assert tuned and all("tuner" in path for path in tuned)
    blocks = {path.split("/")[0] for path in tuned if path[:5] == "block"}
    assert blocks == {f"block_{i}" for i in range(6)}


def test_patch_encoders_do_not_decay():
    decayed, spared = decay_groups(classifier())
    assert not any("patch_encoder" in v.path for v in decayed)
    assert any(v.path == "patch_encoder_0/conv1/kernel" for v in spared)
    assert any(v.path == "position_0/fc1/kernel" for v in decayed)


def test_stages_must_agree():
    with pytest.raises(ValueError, match="depths.*Received"):
        hierarchy(depths=(2, 2))
