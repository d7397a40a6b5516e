"""LoTT: what a view sees, what it adds to the loss, and what is left of it."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_pointpeft
from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft.peft.lott import num_seen
from tests.conftest import small_backbone
from tests.conftest import small_classifier
from tests.test_registry import PLAIN
from tests.test_registry import TINY


def stirred(backbone):
    rng = np.random.default_rng(0)
    for variable in backbone.trainable_variables:
        variable.assign(0.2 * rng.normal(size=variable.shape))
    return backbone


def seen_and_asked(backbone, points, keep):
    """Final tokens of a view, and how far it is from the whole."""
    layer = backbone.get_layer("tuner_view")
    inputs = keras.Model(backbone.input, list(layer.input))(points)
    keep = np.broadcast_to(np.asarray(keep, "int32"), (6, len(keep)))
    tokens = [keras_pointpeft.ops.gather(x, keep) for x in inputs[1:]]
    apart = layer.disagreement(*inputs, keep)
    return ops.convert_to_numpy(layer.view(*tokens)), apart


@pytest.mark.once
def test_a_view_is_what_a_backbone_of_fewer_patches_makes(clouds):
    points, _ = clouds
    backbone = stirred(small_backbone(peft.LoTT(4)))
    seen, _ = seen_and_asked(backbone, points, range(3))
    # Centres are chosen one after the other.
    fewer = backbone.clone(num_groups=3)(points)
    expected = [fewer["class_tokens"], fewer["patch_tokens"]]
    expected = np.concatenate([ops.convert_to_numpy(x) for x in expected], 1)
    np.testing.assert_allclose(seen, expected, atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("gpt", [False, True])
def test_the_measure_is_one_minus_the_cosine(gpt, clouds):
    points, _ = clouds
    if gpt:
        backbone = models.PointGPTBackbone(peft=peft.LoTT(4), **PLAIN)
    else:
        backbone = small_backbone(peft.LoTT(4))
    stirred(backbone)
    whole, apart = seen_and_asked(backbone, points, range(8))
    np.testing.assert_allclose(ops.convert_to_numpy(apart), 0.0, atol=1e-6)
    seen, apart = seen_and_asked(backbone, points, (1, 4))
    first = backbone.num_class_tokens
    features = []
    for x in (whole, seen):
        parts = [x[:, i] for i in range(first)] + [x[:, first:].max(axis=1)]
        features.append(np.concatenate(parts, axis=1))
    features = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in features]
    expected = 1.0 - np.sum(features[0] * features[1], axis=1)
    assert expected.min() > 1e-4
    np.testing.assert_allclose(
        ops.convert_to_numpy(apart), expected, atol=1e-5
    )


@pytest.mark.once
def test_the_loss_is_one_of_training(clouds):
    points, _ = clouds
    model = small_classifier(peft.LoTT(4))
    model(points)
    assert not model.losses
    model(points, training=True)
    (added,) = model.losses
    assert 0.0 < float(ops.convert_to_numpy(added)) < 2.0
    model = small_classifier(peft.LoTT(4, weight=0.0))
    model(points, training=True)
    assert not model.losses


@pytest.mark.once
def test_it_merges_as_lora_does(clouds):
    points, _ = clouds
    model = small_classifier(peft.LoTT(4))
    stirred(model.backbone)
    expected = ops.convert_to_numpy(model(points))
    merged = model.merge()
    assert merged.backbone.peft is None
    found = ops.convert_to_numpy(merged(points))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.once
def test_what_makes_no_sense_is_refused():
    for arguments in ({"masked": 1.0}, {"masked": 0.0}, {"weight": -1.0}):
        with pytest.raises(ValueError, match="Received: "):
            peft.LoTT(**arguments)
    with pytest.raises(ValueError, match="several stages.*Received: .*3"):
        models.PointM2AEBackbone(
            peft=peft.LoTT(4), **TINY["PointM2AEBackbone"]
        )
    assert [num_seen(32, m) for m in (0.9, 0.1, 0.999)] == [3, 29, 1]
    assert num_seen(8, 0.01) == 7
