import keras
import numpy as np
import pytest

from keras_pointpeft.models import GenerativePretrainer
from keras_pointpeft.models import PointGPTBackbone
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.training import svm_accuracy
from keras_pointpeft.training.linear_svm import pooled_features


def make_backbone(**kwargs):
    sizes = {
        "num_groups": 16,
        "group_size": 8,
        "dim": 24,
        "depth": 2,
        "num_heads": 3,
        "encoder_dims": (8, 12, 16),
        "generator_depth": 1,
    }
    return PointGPTBackbone(**{**sizes, **kwargs})


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def value(backbone, name):
    return numpy(backbone.get_layer(name).token)


def clouds(count=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 64, 3)).astype("float32")


@pytest.mark.eager
def test_it_learns_and_leaves_the_class_token_alone():
    backbone = make_backbone()
    model = GenerativePretrainer(backbone, seed=0)
    token = value(backbone, "class_tokens")
    start = value(backbone, "start_token")
    model.compile(keras.optimizers.Adam(3e-3))
    losses = model.fit(clouds(), epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(value(backbone, "class_tokens"), token)
    assert np.abs(value(backbone, "start_token") - start).max()


@pytest.mark.once
def test_a_patch_is_generated_from_what_is_before_it(monkeypatch):
    model = GenerativePretrainer(make_backbone(), mask_ratio=0.0)
    points, nothing = clouds(1), np.zeros(16, bool)
    before = numpy(model(points, nothing)["generated"])
    encoder = model.patch_encoder
    call = encoder.call
    # Not the same for all channels, which the norms would take away.
    late = np.where(np.arange(16)[:, None] >= 9, np.arange(24.0), 0.0)
    late = keras.ops.convert_to_tensor(late[None], "float32")
    monkeypatch.setattr(encoder, "call", lambda x, **k: call(x, **k) + late)
    after = numpy(model(points, nothing)["generated"])
    # Patch i is generated from patches 0 to i - 1.
    np.testing.assert_allclose(after[:, :10], before[:, :10], atol=1e-5)
    assert np.abs(after[:, 10:] - before[:, 10:]).max() > 1e-4


@pytest.mark.once
def test_masks_keep_the_front():
    model = GenerativePretrainer(make_backbone(), mask_ratio=0.7, seed=1)
    masks = [numpy(model.draw_mask()) for _ in range(3)]
    for mask in masks:
        assert mask.sum() == model.num_masked == int(6 * 0.7)
        assert not mask[:10].any()
    assert any((mask != masks[0]).any() for mask in masks)


@pytest.mark.once
def test_errors_and_config():
    with pytest.raises(ValueError, match="generation branch"):
        GenerativePretrainer(make_backbone(generator_depth=0))
    with pytest.raises(ValueError, match="generation branch"):
        GenerativePretrainer(PointMAEBackbone(8, 8, 24, 1, 3))
    with pytest.raises(ValueError, match="mask_ratio=1.5"):
        GenerativePretrainer(make_backbone(), mask_ratio=1.5)
    model = GenerativePretrainer(make_backbone(), 0.5, 4, seed=3)
    again = GenerativePretrainer.from_config(model.get_config())
    assert again.num_masked == model.num_masked and again.num_kept == 4


@pytest.mark.once
def test_linear_svm_tells_features_apart():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    train = rng.normal(size=(40, 5)) + 4 * (np.arange(40) % 2)[:, None]
    assert svm_accuracy(train, np.arange(40) % 2, train, np.arange(40) % 2) == 1
    backbone = PointMAEBackbone(8, 8, 24, 1, 3, (8, 12, 16))
    features = pooled_features(backbone, clouds(5), batch_size=2)
    assert features.shape == (5, 24) and features.dtype == np.float32
