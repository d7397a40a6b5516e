"""Weights do not load into a model that computes something else."""

import zipfile

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import peft
from keras_pointpeft.models import ACTBackbone
from keras_pointpeft.models import MaskedAutoencoder
from keras_pointpeft.models import PointCloudClassifier
from tests.keras_ways.promise import SIZES
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_backbone
from tests.keras_ways.promise import make_task
from tests.small import small_classifier

pytestmark = pytest.mark.once


def weights(model, folder):
    model.save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


def shards(model, folder):
    model.save_weights(folder / "model.weights.h5", max_shard_size=8e-6)
    return folder / "model.weights.json"


def whole(model, folder):
    model.save(folder / "model.keras")
    return folder / "model.keras"


def task(backbone, **kwargs):
    kwargs = {"head_dims": (6,), **kwargs}
    return PointCloudClassifier(backbone, 3, **kwargs)


def values(model):
    return [np.array(ops.convert_to_numpy(v)) for v in model.weights]


# What the others of the same shapes are built with, and what is then said.
OTHERS = {
    "method": (
        lambda: task(make_backbone(peft.LoRA(rank=2))),
        "peft.alpha: the saved model was trained with 8, this model has None",
    ),
    "patches": (
        lambda: task(make_backbone(saved_method(), group_size=5)),
        "backbone.group_size: .* trained with 4, this model has 5",
    ),
    "head": (
        lambda: task(make_backbone(saved_method()), head_activation="gelu"),
        "task.head_activation: .* with 'relu', this model has 'gelu'",
    ),
    "class": (
        lambda: task(ACTBackbone(peft=saved_method(), **SIZES)),
        "backbone: the saved model has PointMAEBackbone, this model ACT",
    ),
    "plain": (
        lambda: task(make_backbone(None)),
        "peft: the saved model has LoRA, this model Full",
    ),
}


def saved_method():
    return peft.LoRA(rank=2, alpha=8)


@pytest.mark.filterwarnings("ignore:.*sharded weights")
@pytest.mark.parametrize("way", (weights, shards, whole))
def test_another_model_of_the_same_shapes(way, tmp_path):
    model = task(make_backbone(saved_method()))
    path = way(model, tmp_path)
    twin = task(make_backbone(saved_method(), seed=1), dropout=0.1)
    twin.load_weights(path)
    np.testing.assert_array_equal(logits(twin), logits(model))
    for build, words in OTHERS.values():
        other = build()
        before = values(other)
        with pytest.raises(ValueError, match=words):
            other.load_weights(path)
        for value, same in zip(values(other), before, strict=True):
            np.testing.assert_array_equal(value, same)


def test_a_backbone_alone(tmp_path):
    path = weights(make_backbone(saved_method()), tmp_path)
    make_backbone(saved_method(), seed=1).load_weights(path)
    with pytest.raises(ValueError, match="num_heads: .* with 2, .* has 3"):
        make_backbone(saved_method(), num_heads=3).load_weights(path)


def test_who_wants_it_gets_it(tmp_path):
    model = task(make_backbone(saved_method()))
    path = weights(model, tmp_path)
    other = task(make_backbone(peft.LoRA(rank=2), seed=1))
    keras.saving.load_weights(other, path)
    for value, same in zip(values(other), values(model), strict=True):
        np.testing.assert_array_equal(value, same)
    other = task(make_backbone(peft.LoRA(rank=2), seed=1))
    with pytest.warns(UserWarning, match="peft.alpha: the saved model was"):
        other.load_weights(path, skip_mismatch=True)
    for value, same in zip(values(other), values(model), strict=True):
        np.testing.assert_array_equal(value, same)


@pytest.mark.parametrize(
    "saved, other",
    (
        (None, peft.LinearProbe()),
        (peft.LinearProbe(), None),
        (peft.BitFit(), peft.Full()),
    ),
)
@pytest.mark.parametrize("way", (weights, whole))
def test_methods_that_add_nothing(way, saved, other, tmp_path):
    model, other = make_task(saved), make_task(other, seed=1)
    other.load_weights(way(model, tmp_path))
    # What is frozen is folded, and rounds otherwise.
    np.testing.assert_allclose(
        logits(other), logits(model), rtol=1e-5, atol=1e-6
    )


def test_files_that_know_no_settings(tmp_path, caplog):
    path = tmp_path / "model.weights.h5"
    model = make_task(peft.LoRA(rank=2, alpha=8))
    keras.saving.save_weights(model, path)
    with caplog.at_level("WARNING"):
        make_task(peft.LoRA(rank=2)).load_weights(path)
    (line,) = [x for x in caplog.messages if "does not know the settin" in x]
    assert str(path) in line
    caplog.clear()
    weights(model, tmp_path)
    with caplog.at_level("WARNING"):
        make_task(peft.LoRA(rank=2, alpha=8)).load_weights(path)
    assert not caplog.messages


def test_a_file_that_is_not_overwritten_keeps_its_settings(
    tmp_path, monkeypatch
):
    model = make_task(peft.LoRA(rank=2, alpha=8))
    path = weights(model, tmp_path)
    before = path.read_bytes()
    other = make_task(peft.LoRA(rank=2))
    monkeypatch.setattr("builtins.input", lambda prompt="": "n")
    other.save_weights(path, overwrite=False)
    assert path.read_bytes() == before
    monkeypatch.setattr("builtins.input", lambda prompt="": "y")
    other.save_weights(path, overwrite=False)
    other.load_weights(path)
    with pytest.raises(ValueError, match="peft.alpha"):
        model.load_weights(path)


def test_pretrainers(tmp_path):
    def build(**kwargs):
        kwargs = {"decoder_depth": 1, "decoder_num_heads": 2, **kwargs}
        return MaskedAutoencoder(make_backbone(None), **kwargs)

    path = weights(build(), tmp_path)
    build(mask_ratio=0.4, mask_type="block", seed=1).load_weights(path)
    with pytest.raises(ValueError, match="task.decoder_num_heads: .* with 2"):
        build(decoder_num_heads=3).load_weights(path)


def test_a_damaged_whole_model(tmp_path):
    path = tmp_path / "model.keras"
    model = small_classifier()
    model.save(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
        pass
    path.write_bytes(whole[: len(whole) // 2])
    for name in ("model.keras", "empty.keras"):
        with pytest.raises(ValueError, match="cannot be read as a .keras file"):
            model.load_weights(tmp_path / name)
