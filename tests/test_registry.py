"""Every method on every backbone, as the zoo pairs them, in tiny sizes.

A new card joins by itself; a new backbone class needs a size in `TINY`.
"""

import functools
import inspect
import json
import re

import keras
import numpy as np
import pytest

from keras_pointpeft import adapters
from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft import presets
from tests.peft.test_hooks import table
from tests.peft.test_hooks import users
from tests.small import SIZES as PLAIN

TINY = {
    "ACTBackbone": PLAIN,
    "PCPMAEBackbone": PLAIN,
    "PointBERTBackbone": {**PLAIN, "token_dim": 16},
    "PointGPTBackbone": PLAIN,
    "PointM2AEBackbone": {
        "num_groups": (16, 8, 8),
        "group_sizes": (8, 4, 4),
        "dims": (12, 18, 24),
        "depths": (1, 1, 1),
        "num_heads": 3,
        "radii": (0.8, 1.2, 1.6),
        "encoder_dims": (8, 8, 16),
    },
    "PointMAEBackbone": PLAIN,
    "PointPQAEBackbone": PLAIN,
    "ReConBackbone": PLAIN,
}
# Arguments of methods that depend on a model's size.
SMALL = {
    "adapter_rank": 4,
    "bank_size": 16,
    "graph_dim": 8,
    "graph_dims": (8, 8),
    "num_neighbors": 4,
    "num_prompts": 4,
    "prior_group_size": None,
    "prior_num_groups": None,
    "prompt_block": -1,
    "rank": 4,
}


# Between them they use every hook that a method of the zoo does: what trains
# on every backend, where the others are much the same.
ONE_PER_HOOK = {
    "gaprompt",
    "idpt",
    "lott",
    "most",
    "pointpeft",
    "prefix",
    "ssf",
    "stag",
}


@functools.cache
def pairs():
    """A preset for each method, backbone class and settings of the method.

    At once run those on the diagonals of the matrix: every method once, in
    mixed precision, and every backbone about as often as any other. The rest
    is slow.
    """
    known = [presets.resolve(name) for name in presets.list_presets()]
    known = [p for p in known if p.task_class == "PointCloudClassifier"]
    methods = sorted({preset.method for preset in known})
    seen, found = set(), []
    for preset in known:
        method, backbone = preset.method, preset.backbone_class
        settings = preset.method_config, preset.task_config.get("pooling")
        settings = json.dumps([method, backbone, *settings], sort_keys=True)
        if settings in seen:
            continue
        partner = list(TINY)[methods.index(method) % len(TINY)]
        first = backbone == partner and method not in seen
        marks = () if first else pytest.mark.slow
        if first and method not in ONE_PER_HOOK:
            marks = pytest.mark.once
        dtype = "mixed_bfloat16" if first else "float32"
        name = preset.name
        found.append(pytest.param((name, dtype), marks=marks, id=name))
        seen.add(settings)
        if first:
            seen.add(method)
    return tuple(found)


def one_of_each_method():
    """Names of presets, those that `pairs` trains in mixed precision."""
    found = [pair.values[0] for pair in pairs()]
    return [name for name, dtype in found if dtype == "mixed_bfloat16"]


def build(name, dtype="float32"):
    preset = presets.resolve(name)
    method = getattr(peft, preset.method_class)
    known = inspect.signature(method).parameters
    small = {k: v for k, v in SMALL.items() if k in known}
    backbone = getattr(models, preset.backbone_class)(
        peft=method(**{**preset.method_config, **small}),
        dtype=dtype,
        **TINY[preset.backbone_class],
    )
    task = {**preset.task_config, "num_classes": 3, "head_dims": (16,)}
    return models.PointCloudClassifier(backbone, **task)


def clouds(count):
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (count, 64, 3)).astype("float32")
    return points, np.arange(count, dtype="int32") % 3


def values(variables):
    """By value: on a CPU, an array may be a view of what training moves."""
    return {v.path: np.array(v.numpy()) for v in variables}


class Tuned:
    """A tiny model after a few steps, and what it was before.

    What starts at zero holds back the gradients behind it, twice in PointGST.
    """

    def __init__(self, name, dtype, folder):
        keras.utils.set_random_seed(0)
        self.points, self.labels = clouds(32)
        self.model = build(name, dtype)
        prior = getattr(self.model.backbone.peft, "prior", False)
        if prior:
            bank = peft.PriorBank.build(self.model, self.points, verbose=0)
            bank.sample(16).attach(self.model)
        # A dynamic scale that is 0 for all tokens stays so behind its ReLU.
        for variable in self.model.trainable_variables:
            if variable.path.endswith("/tuner/adapter/scale/bias"):
                variable.assign(np.ones(variable.shape))
        self.before = values(self.model.weights)
        # Tracing costs more than it saves in so few steps.
        eager = keras.config.backend() == "tensorflow"
        self.model.compile(run_eagerly=eager)
        self.history = self.model.fit(
            self.points[:6], self.labels[:6], batch_size=6, epochs=3, verbose=0
        ).history
        self.model.save_adapter(folder)
        self.after = values(self.model.weights)
        # In float32, whatever the training was in.
        self.loaded = build(name)
        for path, var in adapters.split_variables(self.loaded)[1].items():
            var.assign(self.after[path])
        self.loaded.load_adapter(folder)


@pytest.fixture(scope="module", params=pairs())
def tuned(request, tmp_path_factory):
    return Tuned(*request.param, tmp_path_factory.mktemp("adapter"))


def test_every_backbone_has_a_tiny_size():
    used = {presets.resolve(n).backbone_class for n in presets.list_presets()}
    assert used <= set(TINY)


def test_every_method_is_here():
    methods = {presets.resolve(n).method for n in one_of_each_method()}
    known = {presets.resolve(n).method for n in presets.list_presets()}
    assert methods == known - {None}


@pytest.mark.once
def test_every_hook_is_used_on_every_backend():
    known = [presets.resolve(n) for n in presets.list_presets()]
    classes = {p.method: p.method_class for p in known if p.method}
    everywhere = {classes[method] for method in ONE_PER_HOOK}
    for hook in table():
        of_the_zoo = set(users(hook)) & set(classes.values())
        assert not of_the_zoo or of_the_zoo & everywhere, hook


@pytest.mark.eager
def test_training_moves_what_trains_and_leaves_the_rest(tuned):
    assert np.all(np.isfinite(tuned.history["loss"]))
    adapter, base = adapters.split_variables(tuned.model)
    for path in base:
        np.testing.assert_array_equal(
            tuned.after[path], tuned.before[path], path
        )
    trained = {v.path for v in tuned.model.trainable_variables}
    assert trained <= set(adapter)
    moved = {p for p in trained if np.any(tuned.after[p] != tuned.before[p])}
    # The last block's prompt goes nowhere if the head does not read it.
    unread = r"/tuner/prompt/transform/"
    backbone = tuned.model.backbone
    if isinstance(backbone, models.ReConBackbone):
        if getattr(backbone.peft, "reads", None) == "prompt":
            unread += "|^class_tokens/"  # which no other token sees
    assert not [p for p in trained - moved if not re.search(unread, p)]


def same_weights(model, expected):
    for path, value in values(model.weights).items():
        if "seed_generator" not in path:
            np.testing.assert_array_equal(value, expected[path], path)


def test_adapter_comes_back(tuned):
    same_weights(tuned.loaded, tuned.after)


def test_model_file_comes_back(tuned, tmp_path):
    tuned.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    found, expected = again.get_config(), tuned.model.get_config()
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(expected))
    same_weights(again, tuned.after)
    trained = [v.path for v in again.trainable_variables]
    assert trained == [v.path for v in tuned.model.trainable_variables]


@pytest.mark.once
def test_a_cloud_does_not_depend_on_its_batch(tuned):
    # In a graph that knows no batch size, where there are graphs.
    points = tuned.points
    together = tuned.loaded.predict(points[:6], verbose=0)
    assert np.all(np.isfinite(together)) and np.ptp(together) > 0
    others = np.concatenate((points[:3], points[20:23]))
    found = tuned.loaded.predict(others, verbose=0)
    assert np.abs(found[:3] - together[:3]).max() < 1e-6
    alone = tuned.loaded.predict(points[:1], verbose=0)
    assert np.abs(alone - together[:1]).max() < 1e-6
