"""The backbones beside Point-MAE: shapes, configs, methods, training."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import models
from keras_pointpeft import peft
from tests.small import SIZES

BACKBONES = {
    "ACTBackbone": {},
    "PointBERTBackbone": {"token_dim": 16},
    "PointGPTBackbone": {},
    "ReConBackbone": {},
}
METHODS = {
    "none": lambda: None,
    "bitfit": peft.BitFit,
    "dapt": lambda: peft.DAPT(rank=4),
    "full": peft.Full,
    "linear": lambda: peft.LinearProbe(train_class_token=True),
    "side": peft.SideTuning,
}


def build(name, method="none", **kwargs):
    config = {**SIZES, **BACKBONES[name], **kwargs}
    return getattr(models, name)(peft=METHODS[method](), **config)


@pytest.mark.once
@pytest.mark.parametrize("name", BACKBONES)
def test_outputs(name, clouds):
    backbone = build(name)
    outputs = backbone(clouds[0])
    classes = 3 if name == "ReConBackbone" else 1
    assert outputs["class_tokens"].shape == (6, classes, 24)
    assert outputs["patch_tokens"].shape == (6, 8, 24)
    assert outputs["centers"].shape == (6, 8, 3)
    for key, symbolic in backbone.output.items():
        assert symbolic.shape[1:] == outputs[key].shape[1:]


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BACKBONES)
def test_config_and_freezing_come_back(name, method):
    backbone = build(name, method)
    config = json.loads(json.dumps(backbone.get_config()))
    again = type(backbone).from_config(config)
    for a, b in zip(backbone.weights, again.weights):
        assert (a.path, a.shape, a.trainable) == (b.path, b.shape, b.trainable)


@pytest.mark.once
@pytest.mark.parametrize("method", ["bitfit", "dapt", "linear", "side"])
@pytest.mark.parametrize("name", BACKBONES)
def test_frozen_weights_stay(name, method, clouds):
    task = models.PointCloudClassifier(build(name, method), 3)
    # By value: on a CPU, an array may be a view of what training moves.
    frozen = {
        v.path: np.array(ops.convert_to_numpy(v))
        for v in task.backbone.weights
        if not v.trainable
        and "seed_generator" not in v.path
        # What a method adds follows its batches.
        and "tuner" not in v.path
    }
    assert frozen
    task.fit(*clouds, batch_size=3, epochs=1, verbose=0)
    for variable in task.backbone.weights:
        if variable.path in frozen:
            after = ops.convert_to_numpy(variable)
            assert np.array_equal(after, frozen[variable.path]), variable.path


@pytest.mark.once
@pytest.mark.parametrize("name", BACKBONES)
def test_base_weights_are_a_subset_of_the_tuned(name):
    plain = {v.path: v.shape for v in build(name).weights}
    tuned = {v.path: v.shape for v in build(name, "dapt").weights}
    added = set(tuned) - set(plain)
    assert set(plain) <= set(tuned)
    assert all("tuner" in path for path in added)


@pytest.mark.once
def test_point_bert_has_its_own_head():
    task = models.PointCloudClassifier(build("PointBERTBackbone"), 3)
    paths = {v.path for v in task.head.weights}
    assert paths == {
        f"head/{layer}/{leaf}"
        for layer in ("fc1", "logits")
        for leaf in ("kernel", "bias")
    }


@pytest.mark.once
def test_patches_do_not_see_the_contrast_tokens(clouds):
    backbone = build("ReConBackbone")
    before = backbone(clouds[0])
    layer = backbone.get_layer("image_token")
    # Not the same for all channels: a norm would take that away.
    layer.token.assign(layer.token * 20.0)
    after = backbone(clouds[0])
    for key, same in (("patch_tokens", True), ("class_tokens", False)):
        a, b = (ops.convert_to_numpy(x[key]) for x in (before, after))
        assert np.allclose(a, b, atol=1e-6) == same


@pytest.mark.once
def test_the_class_token_of_point_gpt_sees_no_cloud(clouds):
    outputs = build("PointGPTBackbone")(clouds[0])
    token = ops.convert_to_numpy(outputs["class_tokens"])
    assert np.allclose(token, token[:1], atol=1e-6)


def test_generation_adds_to_the_loss(clouds):
    backbone = build("PointGPTBackbone", generator_depth=1)
    assert backbone(clouds[0])["generated_points"].shape == (6, 8, 8, 3)
    task = models.PointCloudClassifier(backbone, 3, dropout=0.0)
    task.compile(optimizer=keras.optimizers.SGD(0.0))
    loss = task.evaluate(*clouds, batch_size=6, verbose=0)[0]
    logits = task.predict(clouds[0], verbose=0)
    alone = task.default_loss()(clouds[1], logits)
    assert loss > float(alone) + 1e-3
