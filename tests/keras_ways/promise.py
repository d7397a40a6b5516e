"""What the library promises, however Keras, keras-hub or torch are used.

The backbone stays frozen, its base comes back bit for bit, and an adapter
holds all that changed. A way keeps this, or says that it cannot.
"""

import re
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import DAPT

BACKEND = keras.backend.backend()
SIZES = {
    "num_groups": 4,
    "group_size": 4,
    "dim": 12,
    "depth": 1,
    "num_heads": 2,
    "encoder_dims": (4, 6, 8),
}


def make_backbone(peft="dapt", seed=0, **kwargs):
    """A tiny backbone; of one seed, always the same weights."""
    keras.utils.set_random_seed(seed)
    peft = DAPT(rank=2, dropout=0.0) if peft == "dapt" else peft
    return PointMAEBackbone(peft=peft, **{**SIZES, **kwargs})


def make_task(peft="dapt", seed=0, **kwargs):
    backbone = make_backbone(peft, seed, **kwargs)
    return PointCloudClassifier(backbone, 3, head_dims=(6,), dropout=0.0)


def values(variables):
    """Path to a copy of the value."""
    return {v.path: np.array(ops.convert_to_numpy(v)) for v in variables}


def clouds(count=4):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 16, 3)).astype("float32")
    return points, np.arange(count, dtype="int32") % 3


def fit(model, **kwargs):
    """Trains a little, and so that the class token moves."""
    model.compile(
        kwargs.pop("optimizer", None) or keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    points, labels = clouds()
    kwargs = {"batch_size": 2, "epochs": 1, "verbose": 0, **kwargs}
    return model.fit(points, labels, **kwargs)


def logits(model, points=None):
    points = clouds()[0] if points is None else points
    found = model(ops.convert_to_tensor(points), training=False)
    return ops.convert_to_numpy(found)


@dataclass
class Case:
    """A tiny task with its values at the start, and a folder."""

    model: PointCloudClassifier
    folder: object

    def __post_init__(self):
        backbone = self.model.backbone
        own = [v for v in backbone.weights if "tuner" not in v.path]
        trains = backbone.peft.trains
        self.base = values(v for v in own if "seed" not in v.path)
        self.frozen = {k for k in self.base if not trains(k)}
        assert self.frozen

    def check(self, model, base=True, moved=True):
        """The promise about a task that came out of a way.

        Args:
            model: the task.
            base: whether its base is the start's; else it is refused.
            moved: whether the class token must have trained.
        """
        found = values(model.backbone.weights)
        for path in self.frozen:
            np.testing.assert_array_equal(
                found[path], self.base[path], err_msg=path
            )
        token = "class_tokens/token"
        assert moved != np.array_equal(found[token], self.base[token])
        if base:
            with model.disable_adapters() as plain:
                self.check_base(plain)
        else:
            with pytest.raises(ValueError, match="does not say|unknown"):
                with model.disable_adapters():
                    pass
        self.check_adapter(model)

    def check_base(self, plain):
        found = values(plain.weights)
        assert found.keys() == self.base.keys()
        for path, value in self.base.items():
            np.testing.assert_array_equal(found[path], value, err_msg=path)

    def check_adapter(self, model):
        model.save_adapter(self.folder / "adapter")
        twin = make_task(model.backbone.peft)
        twin.load_adapter(self.folder / "adapter")
        np.testing.assert_allclose(
            logits(twin), logits(model), rtol=1e-5, atol=1e-6
        )


def refuses(words):
    """The context of what must be refused, in these words."""
    return pytest.raises(
        (ValueError, NotImplementedError), match=re.compile(words, re.S)
    )


def rows(ways, everywhere):
    """Parameters of a test: some rows for every backend, the others once.

    A row on jax or tensorflow compiles for seconds.

    Args:
        ways: functions, or a dict by name.
        everywhere: string, the names of those for every backend.
    """
    every = ways.items() if isinstance(ways, dict) else None
    every = every or [(way.__name__, way) for way in ways]
    unknown = set(everywhere.split()) - {name for name, _ in every}
    assert not unknown, unknown
    return [
        pytest.param(
            way,
            id=name,
            marks=() if name in everywhere.split() else pytest.mark.once,
        )
        for name, way in every
    ]
