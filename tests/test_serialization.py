"""Configs of earlier versions, with arguments that have gone or moved."""

import keras
import pytest

from keras_pointpeft import layers
from keras_pointpeft.serialization import Configurable

pytestmark = pytest.mark.once

# Class, its arguments now, and what configs of before say besides.
REMOVED = (
    (layers.BatchNorm, {}, "momentum", 0.9, 0.99),
    (layers.ClassTokens, {"dim": 4}, "num_tokens", 1, 2),
    (layers.GraphPropagation, {"dims": (8, 4)}, "num_groups", 4, 2),
    (layers.ContrastTokens, {"dim": 6, "num_heads": 3}, "mlp_ratio", 4.0, 2.0),
    (layers.ContrastTokens, {"dim": 6, "num_heads": 3}, "epsilon", 1e-5, 0.1),
)


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
