"""Colours, normals or intensity as a further input of the patch encoder."""

import keras
import numpy as np
import pytest

from keras_pointpeft import models
from keras_pointpeft.peft import DAPT

from ..conftest import small_backbone
from ..conftest import small_classifier


def transplanted(source, target):
    """The weights of one model in another that has more."""
    known = {variable.path: variable for variable in source.variables}
    for variable in target.variables:
        if variable.path in known:
            # Not the array itself, which jax may give away.
            variable.assign(keras.ops.convert_to_numpy(known[variable.path]))


@pytest.fixture
def colored(clouds):
    colors = np.random.default_rng(1).uniform(0, 1, (6, 64, 3))
    return np.concatenate([clouds[0], colors], -1).astype("float32"), clouds[1]


@pytest.mark.once
def test_without_training_nothing_changes(clouds, colored):
    plain = small_backbone(DAPT(rank=4))
    wide = small_backbone(DAPT(rank=4), extra_channels=3)
    transplanted(plain, wide)
    names = {v.path for v in wide.variables} - {v.path for v in plain.variables}
    assert [name.split("/")[-2] for name in names] == ["tuner_channels"]
    np.testing.assert_allclose(
        wide.predict(colored[0], verbose=0)["patch_tokens"],
        plain.predict(clouds[0], verbose=0)["patch_tokens"],
        atol=1e-5,
    )


@pytest.mark.once
@pytest.mark.parametrize("peft", [None, DAPT(rank=4)])
def test_what_colors_say_is_learnt(colored, peft):
    model = small_classifier(peft, extra_channels=3)
    points, labels = colored
    kernel = model.backbone.get_layer("tuner_channels").kernel
    assert not np.any(keras.ops.convert_to_numpy(kernel))
    model.fit(points, labels, verbose=0)
    assert np.any(keras.ops.convert_to_numpy(kernel))
    other = points.copy()
    other[..., 3:] = 0
    first, second = (model.predict(x, verbose=0) for x in (points, other))
    assert np.abs(first - second).max() > 1e-7
    with pytest.raises(ValueError, match=r"\(clouds, points, 6\)"):
        model.predict(points[..., :3], verbose=0)


def test_configs_and_adapters(colored, tmp_path):
    config = small_backbone().get_config()
    assert config.pop("extra_channels") == 0  # not known to earlier versions
    models.PointMAEBackbone.from_config(config)
    model = small_classifier(DAPT(rank=4), extra_channels=3)
    model.fit(*colored, verbose=0)
    model.save_adapter(tmp_path / "adapter")
    other = small_classifier(DAPT(rank=4), extra_channels=3)
    transplanted(model.backbone, other.backbone)
    kernel = other.backbone.get_layer("tuner_channels").kernel
    kernel.assign(np.zeros(kernel.shape))
    other.load_adapter(tmp_path / "adapter")
    expected = model.predict(colored[0], verbose=0)
    np.testing.assert_allclose(
        other.predict(colored[0], verbose=0), expected, atol=1e-5
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(colored[0], verbose=0), expected, atol=1e-5
    )


@pytest.mark.once
def test_scenes_with_colors(colored):
    model = models.SemanticSegmenter(
        small_backbone(extra_channels=3),
        num_classes=3,
        propagation_dims=(8, 8),
        head_dims=(8,),
    )
    assert model.predict(colored[0], verbose=0).shape == (6, 64, 3)
