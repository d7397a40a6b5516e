"""Ways to copy a model, and to cut a piece out of one."""

import copy
import pickle
import threading

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import peft
from keras_pointpeft import presets
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.models import SemanticSegmenter
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_backbone
from tests.keras_ways.promise import values
from tests.test_registry import SMALL

TINY = {"num_groups": 8, "group_size": 4, "depth": 2}


def methods():
    """One of each class and setting that the zoo has for this backbone."""
    found = {}
    for name in presets.list_presets("*_pointmaetiny_shapes"):
        described = presets.resolve(name)
        if described.method_class is None:
            continue
        cls = getattr(peft, described.method_class)
        small = {k: v for k, v in SMALL.items() if k in cls.config_names}
        config = {**described.method_config, **small}
        found[described.method] = lambda cls=cls, config=config: cls(**config)
    return found


METHODS = methods()
assert len(METHODS) > 15


def trained(model):
    return [v.path for v in model.trainable_variables]


def called(model, points=None):
    points = clouds()[0] if points is None else points
    found = model(ops.convert_to_tensor(points), training=False)
    return [ops.convert_to_numpy(x) for x in keras.tree.flatten(found)]


def same(found, expected):
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


def filled(backbone):
    if getattr(backbone.peft, "prior", False):
        points = clouds(8)[0]
        bank = peft.PriorBank.build(backbone, points, verbose=0)
        bank.attach(backbone)
    return backbone


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
def test_a_cut_out_piece(tmp_path, method):
    backbone = filled(make_backbone(METHODS[method](), **TINY))
    piece = keras.Model(backbone.input, backbone.output["patch_tokens"])
    expected, paths = called(piece), trained(piece)
    frozen = values(v for v in piece.weights if v.path not in paths)
    piece.save(tmp_path / "piece.keras")
    found = keras.saving.load_model(tmp_path / "piece.keras")
    assert trained(found) == paths
    same(called(found), expected)
    # And another time, apart from the first.
    again = keras.saving.load_model(tmp_path / "piece.keras")
    for variable in found.weights:
        if variable.path in frozen:
            np.testing.assert_array_equal(
                ops.convert_to_numpy(variable), frozen[variable.path]
            )
        variable.assign(ops.zeros_like(variable))
    same(called(again), expected)
    same(called(piece), expected)


@pytest.mark.once
def test_a_piece_of_a_hierarchy(tmp_path):
    backbone = PointM2AEBackbone(
        num_groups=(8, 4, 4),
        group_sizes=(4, 4, 4),
        dims=(12, 18, 24),
        depths=(1, 1, 1),
        num_heads=3,
        radii=(0.8, 1.2, 1.6),
        encoder_dims=(4, 6, 8),
        peft=peft.LoRA(rank=2),
    )
    piece = backbone.features((0, 2))
    piece.save(tmp_path / "piece.keras")
    found = keras.saving.load_model(tmp_path / "piece.keras")
    assert trained(found) == trained(piece)
    same(called(found), called(piece))


@pytest.mark.once
def test_a_piece_with_a_head_of_ones_own(tmp_path):
    backbone = make_backbone()
    pooled = keras.layers.GlobalMaxPooling1D()(backbone.output["patch_tokens"])
    model = keras.Model(backbone.input, keras.layers.Dense(3)(pooled))
    before = values(v for v in backbone.weights if not v.trainable)
    fit(model)
    for path, value in values(backbone.weights).items():
        if path in before:
            np.testing.assert_array_equal(value, before[path])
    model.save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits(found), logits(model))
    assert trained(found) == trained(model)
    before = values(v for v in found.weights if not v.trainable)
    fit(found)
    for path, value in values(found.weights).items():
        if path in before:
            np.testing.assert_array_equal(value, before[path])


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
def test_a_clone_of_a_backbone(method):
    backbone = filled(make_backbone(METHODS[method](), **TINY))
    clone = keras.models.clone_model(backbone)
    assert trained(clone) == trained(backbone)
    clone.set_weights(backbone.get_weights())
    same(called(clone), called(backbone))
    mine = {id(v) for v in backbone.weights}
    assert not any(id(v) in mine for v in clone.weights)


@pytest.mark.once
def test_a_clone_of_a_task(case):
    clone = keras.models.clone_model(case.model)
    assert trained(clone) == trained(case.model)
    clone.set_weights(case.model.get_weights())
    np.testing.assert_array_equal(logits(clone), logits(case.model))
    fit(clone)
    found = values(clone.weights)
    for path in case.frozen:
        np.testing.assert_array_equal(found[path], case.base[path])
    case.check(case.model, moved=False)


@pytest.mark.once
def test_a_clone_of_a_segmenter():
    backbone = make_backbone(num_groups=8, depth=3)
    model = SemanticSegmenter(backbone, 3, propagation_dims=(8, 8))
    points = np.random.default_rng(0).normal(size=(1, 64, 3))
    clone = keras.models.clone_model(model)
    assert trained(clone) == trained(model)
    clone.set_weights(model.get_weights())
    points = points.astype("float32")
    same(called(clone, points), called(model, points))


@pytest.mark.once
def test_features_train_what_the_method_trains(case):
    backbone = case.model.backbone
    tokens = backbone.features((0,))(backbone.input)[0]
    pooled = keras.layers.GlobalMaxPooling1D()(tokens)
    fit(keras.Model(backbone.input, keras.layers.Dense(3)(pooled)))
    case.check(case.model)


@pytest.mark.once
def test_from_config(case):
    model = case.model
    again = type(model).from_config(model.get_config())
    assert trained(again) == trained(model)
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(logits(again), logits(model))


@pytest.mark.parametrize("way", ("keras", "pickle", "deepcopy"))
def test_copies_know_what_the_model_was_trained_on(way, case):
    model = case.model
    fit(model)
    model.contract = model.contract.told(class_names=("a", "b", "c"))
    assert model.contract.num_points == 16
    if way == "keras":
        model.save(case.folder / "model.keras")
        again = keras.models.load_model(case.folder / "model.keras")
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(model))
    else:
        again = copy.deepcopy(model)
    assert again.contract == model.contract
    case.check(again)


@pytest.mark.skipif(
    keras.config.backend() == "jax",
    reason="Keras' `predict` keeps the variables elsewhere meanwhile",
)
def test_threads_that_serve_one_model(case):
    model = case.model
    fit(model)
    points, _ = clouds(8)
    expected = model.predict(points[:2], verbose=0)
    found = {}

    def serve(number):
        found[number] = [
            model.predict(points[:2], verbose=0, batch_size=2)
            for _ in range(6)
        ]

    threads = [threading.Thread(target=serve, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.keys() == {0, 1, 2, 3}
    for answers in found.values():
        np.testing.assert_allclose(
            answers, [expected] * 6, rtol=1e-5, atol=1e-6
        )
