import dataclasses
import os

import keras
import numpy as np
import pytest

from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.data import Room
from keras_pointpeft.models import frozen_stem
from keras_pointpeft.peft import GAPrompt
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import stem_cache
from keras_pointpeft.training import train
from tests.conftest import METHODS
from tests.conftest import small_classifier
from tests.models.test_segmenters import make_backbone
from tests.training.test_checkpoint import Kill

RECIPE = Recipe(
    epochs=2,
    batch_size=8,
    learning_rate=1e-2,
    num_points=16,
    augmentation="none",
    sampling="fps",
    selection="held_out",
    held_out_fraction=0.25,
    # Adam would make whole steps of gradients that are nothing but rounding.
    epsilon=1e-3,
)


def make(method="dapt", **kwargs):
    keras.utils.set_random_seed(1)
    return small_classifier(METHODS[method](), **kwargs)


def losses(result):
    names = ("loss", "val_loss", "val_accuracy")
    return [[row[name] for name in names] for row in result.history]


def test_training_is_the_same(make_split, tmp_path):
    # Batches of one size, for which a program is compiled.
    splits = make_split(clouds=32), make_split(clouds=8, seed=1)
    plain, cached = (
        train(make("linear", depth=1), *splits, RECIPE, cache=cache)
        for cache in (None, tmp_path)
    )
    np.testing.assert_allclose(losses(cached), losses(plain), rtol=1e-4)
    assert cached.best_accuracy == plain.best_accuracy
    # Of the clouds to learn from, and of those held out.
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.once
def test_files_have_what_memory_has_and_are_found_again(
    make_split, tmp_path, monkeypatch
):
    def arrays(model, where, **changes):
        options = {"num_points": 16, "sampling": "fps", **changes}
        batches = PointCloudDataset(make_split(), **options)
        _, cached, _ = stem_cache.apply(model, batches, None, where)
        return cached.arrays

    computed = []
    inner = stem_cache._computed
    monkeypatch.setattr(
        stem_cache, "_computed", lambda *a: computed.append(1) or inner(*a)
    )
    expected, found = arrays(make(), "memory"), arrays(make(), tmp_path)
    assert set(found) == set(expected)
    for name, array in found.items():
        assert isinstance(array, np.memmap)
        np.testing.assert_array_equal(array, expected[name])
    assert len(computed) == 2
    arrays(make(), tmp_path)
    assert len(computed) == 2
    # Other clouds, and other weights.
    arrays(make(), tmp_path, num_points=12)
    assert len(computed) == 3
    model = make()
    encoder = model.backbone.get_layer("patch_encoder")
    encoder.conv1.kernel.assign(encoder.conv1.kernel * 2.0)
    arrays(model, tmp_path)
    assert len(computed) == 4


@pytest.mark.skipif(
    keras.config.backend() != "torch",
    reason="Every backend goes on without a cache; with one, one will do.",
)
def test_an_interrupted_run_goes_on(make_split, tmp_path):
    splits = make_split(), make_split(seed=1)
    recipe = dataclasses.replace(RECIPE, epochs=3)
    expected = train(make(), *splits, recipe, cache="memory")
    with pytest.raises(KeyboardInterrupt):
        train(
            make(),
            *splits,
            recipe,
            tmp_path,
            callbacks=[Kill(2, 1)],
            cache="memory",
        )
    found = train(make(), *splits, recipe, tmp_path, cache="memory")
    assert losses(found) == losses(expected)
    assert found.best_accuracy == expected.best_accuracy


@pytest.mark.once
def test_what_failed_leaves_no_files(make_split, tmp_path, monkeypatch):
    model = make()
    batches = PointCloudDataset(make_split(), sampling="first")
    stem, _ = frozen_stem.split(model)

    def fail(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(stem, "predict_on_batch", fail)
    with pytest.raises(OSError, match="No space"):
        stem_cache.stem_arrays(model, stem, batches, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.once
def test_another_process_may_write_the_same(make_split, tmp_path, monkeypatch):
    batches = PointCloudDataset(make_split(), sampling="first")
    inner = stem_cache._computed

    def slow(*args):
        # Meanwhile, another process does all of it.
        monkeypatch.setattr(stem_cache, "_computed", inner)
        stem_cache.apply(make(), batches, None, tmp_path)
        return inner(*args)

    monkeypatch.setattr(stem_cache, "_computed", slow)
    monkeypatch.setattr(stem_cache.os, "getpid", iter(range(9)).__next__)
    _, found, _ = stem_cache.apply(make(), batches, None, tmp_path)
    assert len(os.listdir(tmp_path)) == 1
    assert all(len(array) == 48 for array in found.arrays.values())


@pytest.mark.once
def test_batches_are_those_of_the_clouds():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(10, 20, 3)), np.arange(10)
    weights = rng.uniform(size=10)
    inner = PointCloudDataset(
        points,
        labels,
        batch_size=4,
        sampling="first",
        shuffle=True,
        drop_last=True,
        weights=weights,
    )
    batches = stem_cache.CachedBatches(inner, {"a": 10.0 * labels})
    assert len(batches) == 2
    orders = []
    for epoch in range(2):
        batches.epoch = epoch
        for index in range(2):
            inputs, targets, weight = batches[index]
            np.testing.assert_array_equal(inputs["a"], 10.0 * targets)
            np.testing.assert_array_equal(weight, weights[targets])
        orders.append(targets.tolist())
    assert orders[0] != orders[1]


@pytest.mark.once
@pytest.mark.parametrize(
    "changes", [{"augmentation": "scale_translate"}, {"sampling": "random"}]
)
def test_clouds_that_differ_are_refused(changes, make_split):
    recipe = dataclasses.replace(RECIPE, **changes)
    with pytest.raises(ValueError, match="same in each epoch.*Received"):
        train(make(), make_split(), make_split(seed=1), recipe, cache="memory")


@pytest.mark.once
def test_a_method_that_changes_clouds_is_refused(make_split):
    model = small_classifier(GAPrompt())
    with pytest.raises(ValueError, match="nothing can be kept.*Received"):
        train(model, make_split(), make_split(seed=1), RECIPE, cache="memory")


@pytest.mark.once
def test_columns_of_rooms_are_refused():
    from keras_pointpeft.models import SemanticSegmenter

    rng = np.random.default_rng(0)
    rooms = [
        Room(rng.uniform(size=(400, 3)), rng.integers(0, 2, 400), name)
        for name in "ab"
    ]
    model = SemanticSegmenter(
        make_backbone(), 2, propagation_dims=(16, 12), head_dims=(8,)
    )
    recipe = dataclasses.replace(
        RECIPE, num_points=64, column_min_points=32, selection="last"
    )
    with pytest.raises(ValueError, match="columns of rooms.*Received"):
        train(model, rooms, rooms, recipe, cache="memory")
