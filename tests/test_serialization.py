"""Configs of earlier versions, with arguments that have gone or moved."""

import keras
import pytest

from keras_pointpeft import layers
from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft import presets
from keras_pointpeft.serialization import Configurable
from tests.conftest import small_backbone
from tests.conftest import small_classifier

pytestmark = pytest.mark.once

# Class, its arguments now, and what configs of before say besides.
REMOVED = (
    (layers.BatchNorm, {}, "momentum", 0.9, 0.99),
    (layers.ClassTokens, {"dim": 4}, "num_tokens", 1, 2),
    (layers.GraphPropagation, {"dims": (8, 4)}, "num_groups", 4, 2),
    (layers.ContrastTokens, {"dim": 6, "num_heads": 3}, "mlp_ratio", 4.0, 2.0),
    (layers.ContrastTokens, {"dim": 6, "num_heads": 3}, "epsilon", 1e-5, 0.1),
)
# Class, its arguments with one of another value than usual, and what that
# was called.
RENAMED = (
    (layers.ClassificationHead, {"num_classes": 2, "use_norm": False}, "norm"),
    (layers.FeaturePropagation, {"dims": [4], "num_neighbors": 2}, "neighbors"),
    (peft.InstancePrompt, {"num_neighbors": 2}, "neighbors"),
    (peft.IDPT, {"num_neighbors": 2}, "neighbors"),
    (peft.LinearProbe, {"train_class_token": True}, "class_token"),
    (peft.PointPEFT, {"prior_num_groups": 4}, "prior_groups"),
    (peft.PointPEFT, {"num_heads": 3}, "attention_heads"),
    (peft.PPT, {"prompt_group_size": 4}, "prompt_size"),
    (models.PointMAEBackbone, {"use_class_token": False}, "class_token"),
)


@pytest.mark.parametrize("cls, arguments, old", RENAMED)
def test_arguments_by_their_old_names(cls, arguments, old):
    new, value = list(arguments.items())[-1]
    if cls is models.PointMAEBackbone:
        made = small_backbone(**arguments)
    else:
        made = cls(**arguments)
    saved = keras.saving.serialize_keras_object(made)
    config = saved["config"]
    config[old] = config.pop(new)
    loaded = keras.saving.deserialize_keras_object(saved)
    assert getattr(loaded, new) == getattr(made, new) == value


def test_a_preset_directory_with_old_names(tmp_path):
    model = small_classifier(peft.IDPT(num_neighbors=3), use_class_token=True)
    model.save_to_preset(tmp_path)
    for name in ("config.json", "task.json"):
        text = (tmp_path / name).read_text()
        text = text.replace('"use_class_token"', '"class_token"')
        text = text.replace('"num_neighbors"', '"neighbors"')
        (tmp_path / name).write_text(text)
    (tmp_path / "metadata.json").write_text("{}")
    loaded = presets.from_preset(tmp_path)
    assert loaded.backbone.use_class_token
    assert loaded.backbone.peft.num_neighbors == 3


@pytest.mark.parametrize("cls, arguments, name, usual, other", REMOVED)
def test_options_that_are_gone(cls, arguments, name, usual, other):
    saved = keras.saving.serialize_keras_object(cls(**arguments))
    assert name not in saved["config"]
    saved["config"][name] = usual
    loaded = keras.saving.deserialize_keras_object(saved)
    assert loaded.get_config() == cls(**arguments).get_config() | {
        "name": loaded.name
    }
    saved["config"][name] = other
    with pytest.raises(Exception, match=f"{name}={usual}"):
        keras.saving.deserialize_keras_object(saved)


def test_a_renamed_argument_of_a_base_class():
    class Base(Configurable):
        config_names = ("rank",)
        renamed = {"width": "rank"}

        def __init__(self, rank):
            self.rank = rank

    class Derived(Base):
        removed = {"mode": "plain"}

    assert Derived.from_config({"width": 3, "mode": "plain"}).rank == 3
    assert Derived(2).get_config() == {"rank": 2}
    with pytest.raises(ValueError, match="Derived of this version has mode"):
        Derived.from_config({"rank": 3, "mode": "other"})


def test_a_subclass_has_its_own_arguments_and_those_it_hands_on():
    assert peft.LoTT(masked=0.5, weight=2.0).get_config()["masked"] == 0.5

    class Mine(peft.LoRA):
        def __init__(self, warmth=1.0, **kwargs):
            super().__init__(**kwargs)
            self.warmth = warmth

    config = Mine(warmth=3.0, rank=2, alpha=4).get_config()
    again = Mine.from_config(config)
    assert (again.warmth, again.rank, again.alpha) == (3.0, 2, 4)

    class Fixed(peft.LoRA):
        def __init__(self, rank=8):
            super().__init__(rank, alpha=2 * rank)

    assert Fixed.from_config(Fixed(4).get_config()).alpha == 8

    class ByHand(peft.LoRA):
        def __init__(self, warmth=1.0, **kwargs):
            super().__init__(**kwargs)
            self._warmth = warmth

        def get_config(self):
            return {**super().get_config(), "warmth": self._warmth}

    assert ByHand.from_config(ByHand(2.0, rank=3).get_config())._warmth == 2.0
