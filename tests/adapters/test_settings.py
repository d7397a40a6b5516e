"""An adapter knows with which settings it was trained."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import adapters
from keras_pointpeft import peft
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.models import ACTBackbone
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from tests.keras_ways.promise import SIZES
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_task

pytestmark = pytest.mark.once

# Method, how it is built, and settings that change no shape but what is
# computed.
COMPUTED = (
    (
        peft.DAPT,
        {"rank": 2, "scale_start": "one"},
        {"scale_step": 0.25, "patch_token": "mean"},
    ),
    (peft.LoRA, {"rank": 2}, {"alpha": 8}),
    (peft.LoTT, {"rank": 2}, {"alpha": 8.0}),
    (peft.AdaptFormer, {"rank": 2}, {"scale": 1.0}),
    (
        peft.GAPrompt,
        {"num_points": 3, "num_prompts": 2, "prompt_blocks": 1},
        {"perturbation": 0.2, "before_attention": True},
    ),
    (
        peft.PointPEFT,
        {"prior": False, "prompt_blocks": 1, "num_prompts": 4, "num_heads": 2},
        {"adapter_scale": 0.1, "neighborhood_pooling": "max+mean"},
    ),
    (peft.IDPT, {"num_neighbors": 2, "num_heads": 2}, {"num_neighbors": 3}),
    (peft.STAG, {"rank": 4, "num_neighbors": 2}, {"num_neighbors": 3}),
)
# Settings of training alone.
TRAINING = (
    (peft.DAPT, {"rank": 2}, {"dropout": 0.5, "scale_start": "one"}),
    # A part of the gradient.
    (peft.DAPT, {"rank": 2}, {"scale_leak": 0.1}),
    # The same in another form.
    (
        peft.DAPT,
        {"rank": 2, "sites": ("qkv", "fc1")},
        {"sites": ["fc1", "qkv"]},
    ),
    (peft.LoRA, {"rank": 2, "alpha": 8}, {"alpha": np.int64(8)}),
    (peft.LoRA, {"rank": 2, "alpha": np.float32(8)}, {"alpha": 8}),
    # By default the updates are scaled by 1.
    (peft.LoRA, {"rank": 2}, {"alpha": 2}),
    # Of a part that is left out.
    (
        peft.DAPT,
        {"rank": 2, "internal_prompts": False},
        {"prompt_token": "max"},
    ),
    (
        peft.PointPEFT,
        {"prior": False, "gated": True, "prompt_blocks": 1, "num_heads": 2},
        {"prior_num_groups": 8, "prior_group_size": 4, "adapter_scale": 0.1},
    ),
    (peft.LoRA, {"rank": 2}, {"dropout": 0.5}),
    (peft.LoTT, {"rank": 2}, {"masked": 0.5, "weight": 3.0}),
    (peft.AdaptFormer, {"rank": 2}, {"dropout": 0.7}),
    (peft.VPT, {"num_prompts": 2}, {"dropout": 0.7}),
)


def stirred(model):
    """The model with an adapter that has moved away from its start."""
    rng = np.random.default_rng(0)
    for path, variable in adapters.split_variables(model)[0].items():
        if "/moving_" not in path:
            noise = 0.3 * rng.normal(size=variable.shape)
            variable.assign(variable.numpy() + noise)
    return model


@pytest.mark.parametrize("method, arguments, others", COMPUTED)
def test_another_setting_of_the_method_is_refused(
    method, arguments, others, tmp_path
):
    model = stirred(make_task(method(**arguments), depth=2))
    model.save_adapter(tmp_path)
    model.save_weights(tmp_path / "model.weights.h5")
    for name, value in others.items():
        other = make_task(method(**{**arguments, name: value}), depth=2)
        before = logits(other)
        saved = getattr(model.backbone.peft, name)
        words = f"was trained with {saved!r}, this model has {value!r}"
        with pytest.raises(ValueError) as error:
            other.load_adapter(tmp_path)
        assert f"peft.{name}: the adapter {words}" in str(error.value)
        assert "from_adapter" in str(error.value)
        with pytest.raises(ValueError) as error:
            other.load_weights(tmp_path / "model.weights.h5")
        assert f"peft.{name}: the saved model {words}" in str(error.value)
        np.testing.assert_array_equal(logits(other), before)
        # It is no idle question: with these weights it computes another thing.
        theirs = adapters.split_variables(other)[0]
        for path, variable in adapters.split_variables(model)[0].items():
            theirs[path].assign(variable.numpy())
        assert np.abs(logits(other) - logits(model)).max() > 1e-5, name


@pytest.mark.parametrize("method, arguments, others", TRAINING)
def test_settings_of_training_may_differ(method, arguments, others, tmp_path):
    model = stirred(make_task(method(**arguments)))
    model.save_adapter(tmp_path)
    other = make_task(method(**{**arguments, **others}))
    theirs = adapters.split_variables(other)[1]
    for path, variable in adapters.split_variables(model)[1].items():
        theirs[path].assign(variable.numpy())
    other.load_adapter(tmp_path)
    np.testing.assert_array_equal(logits(other), logits(model))
    other = make_task(method(**{**arguments, **others}))
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(logits(other), logits(model))


def build(backbone=None, **task):
    keras.utils.set_random_seed(0)
    method = peft.DAPT(rank=2, scale_start="one")
    points = PointMAEBackbone(peft=method, **{**SIZES, **(backbone or {})})
    return PointCloudClassifier(points, 3, **{"head_dims": (6,), **task})


@pytest.mark.parametrize(
    "part, name, value",
    (
        ("backbone", "num_groups", 6),
        ("backbone", "group_size", 5),
        ("backbone", "num_heads", 3),
        ("backbone", "skip_origin", True),
        ("task", "head_activation", "gelu"),
    ),
)
def test_settings_of_backbone_and_task(part, name, value, tmp_path):
    build().save_adapter(tmp_path)
    changes = {name: value}
    other = build(changes) if part == "backbone" else build(**changes)
    with pytest.raises(ValueError, match=f"{part}.{name}: the adapter was"):
        other.load_adapter(tmp_path)
    build({"drop_path_rate": 0.2}, dropout=0.1).load_adapter(tmp_path)


def test_numbers_of_numpy_are_the_same_numbers(tmp_path):
    sizes = {n: np.int64(SIZES[n]) for n in ("num_groups", "num_heads")}
    for saved, other in ((sizes, {}), ({}, sizes)):
        model = stirred(build(saved))
        model.save_adapter(tmp_path / "adapter")
        again = build(other)
        again.load_adapter(tmp_path / "adapter")
        np.testing.assert_array_equal(logits(again), logits(model))


def test_another_method_or_backbone_of_the_same_shapes(tmp_path):
    model = build()
    model.save_adapter(tmp_path)
    config = model.backbone.get_config()
    keras.utils.set_random_seed(0)
    other = PointCloudClassifier(ACTBackbone(**config), 3, head_dims=(6,))
    with pytest.raises(ValueError, match="backbone: the adapter has PointMAE"):
        other.load_adapter(tmp_path)
    with pytest.raises(ValueError, match="peft: the adapter has DAPT, this"):
        make_task(peft.LoRA(rank=2)).load_adapter(tmp_path)
    # Without a method and with `Full`, the same is trained and computed.
    full = make_task(peft.Full())
    full.save_adapter(tmp_path / "full")
    make_task(None).load_adapter(tmp_path / "full")


def test_every_way_in(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    saved, other = peft.LoRA(rank=2, alpha=8), peft.LoRA(rank=2)
    model = stirred(make_task(saved))
    model.save_adapter(tmp_path / "one")
    file = tmp_path / "one.safetensors"
    adapters.export_safetensors(tmp_path / "one", file)
    adapters.import_safetensors(file, tmp_path / "two")
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(
        hub, "snapshot_download", lambda *a, **k: str(tmp_path / "one")
    )
    words = "peft.alpha: the adapter was trained with 8, this model has None"
    for path in (tmp_path / "one", tmp_path / "two", "hf://me/mine"):
        task = make_task(other)
        with pytest.raises(ValueError, match=words):
            task.load_adapter(path)
        with pytest.raises(ValueError, match=words):
            task.add_adapter("second", path)
        assert "second" not in task.adapter_names
        right = make_task(saved)
        right.add_adapter("second", path)
        right.set_adapter("second")
        np.testing.assert_array_equal(logits(right), logits(model))


def test_whole_models_keep_their_settings(tmp_path):
    model = stirred(make_task(peft.LoRA(rank=2, alpha=8)))
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    model.save_adapter(tmp_path / "adapter")
    for again in (
        keras.models.load_model(tmp_path / "model.keras"),
        keras_pointpeft.from_preset(tmp_path / "preset"),
        keras_pointpeft.from_adapter(
            tmp_path / "adapter", preset=tmp_path / "preset"
        ),
        copy.deepcopy(model),
    ):
        assert again.backbone.peft.alpha == 8
        np.testing.assert_array_equal(logits(again), logits(model))


def test_adapters_of_earlier_versions(tmp_path, caplog):
    model = stirred(make_task(peft.DAPT(rank=2)))
    model.save_adapter(tmp_path)
    file = tmp_path / "adapter.json"
    config = json.loads(file.read_text())
    del config["backbone_config"]
    for later in ("scale_start", "scale_leak", "scale_step"):
        del config["peft"]["config"][later]
    file.write_text(json.dumps(config))
    again = make_task(peft.DAPT(rank=2))
    with caplog.at_level("WARNING"):
        again.load_adapter(tmp_path)
    assert "does not know the settings of its backbone" in caplog.text
    np.testing.assert_array_equal(logits(again), logits(model))
    # What such a version had was what is the default now.
    with pytest.raises(ValueError, match="scale_step: .* with 1.0, this"):
        make_task(peft.DAPT(rank=2, scale_step=0.25)).load_adapter(tmp_path)


def test_a_copy_of_several_adapters_keeps_what_they_know():
    model = make_task()
    model.contract = Contract(class_names=("a", "b", "c"))
    model.add_adapter("second")
    model.set_adapter("second")
    model.contract = Contract(class_names=("d", "e", "f"))
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again.contract.class_names == ("d", "e", "f")
        again.set_adapter("default")
        assert again.contract.class_names == ("a", "b", "c")


def test_a_method_that_is_changed_after_building(tmp_path):
    model = make_task(peft.LoRA(rank=2))
    model.backbone.peft.alpha = 100.0
    for act in (
        lambda: model.save_adapter(tmp_path / "adapter"),
        lambda: model.save(tmp_path / "model.keras"),
        lambda: model.save_weights(tmp_path / "model.weights.h5"),
        lambda: model.save_to_preset(tmp_path / "preset"),
    ):
        with pytest.raises(ValueError, match="alpha` was changed after"):
            act()
    assert not [*tmp_path.glob("adapter"), *tmp_path.glob("*.weights.h5")]
    model.backbone.peft.alpha = None
    model.save_adapter(tmp_path / "adapter")
