"""Copies of backbones and tasks: what they compute, cost and remember."""

import keras
import numpy as np
import pytest

from keras_pointpeft import adapters
from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft import presets
from keras_pointpeft.models import PointCloudClassifier
from tests.conftest import small_backbone
from tests.conftest import small_classifier

pytestmark = pytest.mark.once


def stirred(model, trained=False):
    """A model with all weights moved, or those that train."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables if trained else model.weights:
        if "seed_generator" not in variable.path:
            noise = np.abs(rng.normal(size=variable.shape))
            variable.assign(variable.numpy() + 0.1 * noise)
    return model


def values(model):
    return {
        v.path: v.numpy()
        for v in model.weights
        if "seed_generator" not in v.path
    }


def same(ours, theirs, added=True):
    ours, theirs = values(ours), values(theirs)
    for path, value in ours.items():
        if added or "tuner" not in path:
            np.testing.assert_array_equal(value, theirs[path], path)


def test_a_clone_is_the_same_and_stands_alone():
    backbone = stirred(small_backbone(peft=peft.DAPT(rank=4), remat="block"))
    twin = backbone.clone()
    same(backbone, twin)
    assert twin.get_config() | {"name": 0} == backbone.get_config() | {
        "name": 0
    }
    assert twin.remat == "block" and twin.peft is not backbone.peft
    before = values(backbone)
    stirred(twin)
    same(backbone, backbone)
    for path, value in values(backbone).items():
        np.testing.assert_array_equal(value, before[path])


def test_another_method_joins_the_base_as_it_was():
    task = small_classifier(peft.DAPT(rank=4))
    base = values(task.backbone)
    adapters.remember_base(task)
    stirred(task, trained=True)
    for method in (None, peft.BitFit(), peft.DAPT(rank=2)):
        twin = task.backbone.clone(peft=method)
        for path, value in values(twin).items():
            if "tuner" not in path and "class_tokens" in path:
                np.testing.assert_array_equal(value, base[path])
    # The same method goes on where it was.
    same(task.backbone, task.backbone.clone())


def test_fewer_blocks_and_another_policy():
    backbone = stirred(small_backbone(depth=3))
    twin = backbone.clone(depth=1, dtype="mixed_bfloat16", num_groups=4)
    same(twin, backbone)
    assert twin.compute_dtype == "bfloat16"
    assert not [v for v in twin.weights if "block_1/" in v.path]


def test_what_a_clone_refuses():
    backbone = small_backbone()
    with pytest.raises(TypeError, match="takes num_groups.*Received.*wrong"):
        backbone.clone(wrong=1)
    with pytest.raises(ValueError, match="one width. Received: .* such as"):
        backbone.clone(encoder_dims=(4, 4, 4))


def test_a_task_with_its_head():
    task = stirred(
        PointCloudClassifier(
            small_backbone(peft=peft.DAPT(rank=4)),
            num_classes=3,
            head_dims=(8,),
            head_dtype="bfloat16",
        )
    )
    twin = task.clone()
    same(task, twin)
    assert twin.backbone is not task.backbone
    assert twin.head_dtype.name == "bfloat16"
    # Another number of classes has a head of its own.
    wider = task.clone(num_classes=4, peft=peft.LoRA(rank=2))
    assert wider.output_shape == (None, 4)
    same(task.backbone, wider.backbone, added=False)
    # The choice of the old method is not that of another.
    assert task.pooling["prompt_token"] == "mean"
    assert wider.pooling["prompt_token"] is None


def test_a_head_follows_the_policy_unless_it_has_its_own():
    task = small_classifier(peft.LoRA(rank=2))
    twin = task.clone(dtype="mixed_bfloat16")
    assert twin.head_dtype.name == "mixed_bfloat16"
    same(twin, task)


def test_merging_keeps_what_the_model_costs():
    backbone = small_backbone(peft=peft.LoRA(rank=2), remat="none")
    task = stirred(
        PointCloudClassifier(backbone, 3, head_dtype="bfloat16", head_dims=())
    )
    merged = task.merge()
    assert merged.head_dtype.name == "bfloat16"
    assert merged.backbone.remat == "none"
    assert merged.head.compute_dtype == "bfloat16"


def test_remat_is_saved(tmp_path):
    task = small_classifier(peft.LoRA(rank=2))
    task.backbone.remat = "block"
    task.save_to_preset(tmp_path / "preset")
    assert presets.from_preset(tmp_path / "preset").backbone.remat == "block"
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert loaded.backbone.remat == "block"
    again = presets.from_preset(tmp_path / "preset", remat="none")
    assert again.backbone.remat == "none"
    # A config of before has no such key.
    config = task.backbone.get_config()
    del config["remat"]
    assert type(task.backbone).from_config(config).remat == "elementwise"


def test_a_segmenter(clouds):
    points, _ = clouds
    task = models.SemanticSegmenter(
        small_backbone(depth=3), num_classes=4, head_dtype="bfloat16"
    )
    stirred(task)
    twin = task.clone()
    same(task, twin)
    np.testing.assert_array_equal(
        task.predict_on_batch(points), twin.predict_on_batch(points)
    )
    assert twin.blocks == (0, 1, 2)
    assert task.clone(depth=6).blocks == (1, 3, 5)


def test_a_backbone_of_two_blocks_segments(clouds):
    task = models.SemanticSegmenter(small_backbone(depth=2), num_classes=4)
    assert task.blocks == (0, 0, 1)
    assert np.isfinite(task.predict_on_batch(clouds[0])).all()


def test_a_clone_is_compiled_alike():
    task = small_classifier(peft.LoRA(rank=2))
    optimizer = keras.optimizers.SGD(0.25, momentum=0.5)
    task.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    twin = task.clone()
    assert isinstance(twin.optimizer, keras.optimizers.SGD)
    assert float(twin.optimizer.learning_rate) == 0.25
    assert twin.optimizer is not task.optimizer
    assert twin.loss == "sparse_categorical_crossentropy"
    # What trains is something else: so is how it is trained.
    other = task.clone(peft=peft.BitFit())
    assert not isinstance(other.optimizer, keras.optimizers.SGD)
    plain = task.clone(compile=False)
    assert not isinstance(plain.optimizer, keras.optimizers.SGD)
