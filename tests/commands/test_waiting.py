"""Whatever can take long says so: with no patience at all, always a line."""

import functools
import importlib
import time
from unittest import mock

import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import data
from keras_pointpeft import models
from keras_pointpeft import training
from keras_pointpeft.data import make_shapes
from keras_pointpeft.data.registry import DATASETS
from keras_pointpeft.files import progress
from keras_pointpeft.training.linear_svm import pooled_features
from tests.conftest import small_backbone
from tests.conftest import small_classifier

pytestmark = pytest.mark.once

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(12, 64, 3)).astype("float32")


def split():
    return data.Split(data.unit_sphere(POINTS), np.arange(12) % 3, "abc")


def read(_):
    """A set whose reader takes its time before it says anything itself."""
    module, function, _ = DATASETS["shapes"]
    module = importlib.import_module(f"keras_pointpeft.data.{module}")
    loader = getattr(module, function)

    @functools.wraps(loader)
    def slow(**kwargs):
        time.sleep(0.1)
        return loader(**kwargs)

    with mock.patch.object(module, function, slow):
        data.load("shapes", num_clouds=20, num_points=64)


def train(_):
    recipe = training.Recipe(epochs=2, batch_size=4, num_points=64)
    training.train(small_classifier(), split(), split(), recipe)


def predict(folder):
    model = small_classifier()
    np.save(folder / "a.npy", POINTS[0])
    keras_pointpeft.predict_files(model, folder / "a.npy")


def predict_room(_):
    model = models.SemanticSegmenter(
        small_backbone(use_class_token=False, depth=12),
        num_classes=2,
        propagation_dims=(16,),
        head_dims=(16,),
    )
    model.predict_room(RNG.uniform(0, 3, (400, 3)), num_points=128)


CALLS = {
    "making shapes": lambda _: make_shapes(20, num_points=256),
    "reading shapes, train": read,
    "training": train,
    "measuring": lambda _: training.evaluate(small_classifier(), split()),
    "predicting clouds": predict,
    "predicting a scene": predict_room,
    "extracting features": lambda _: pooled_features(small_backbone(), POINTS),
}


@pytest.mark.filterwarnings("ignore:This recipe makes")
@pytest.mark.parametrize("what", CALLS)
def test_it_says_what_it_does(what, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(progress, "INTERVAL", 1e-4)
    CALLS[what](tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(what) for line in lines)


def test_the_time_that_is_left(monkeypatch, capsys):
    """An epoch's line has its figures and the time of those to come."""
    train(None)
    lines = capsys.readouterr().err.splitlines()
    (first, *_, last) = [x for x in lines if x.startswith("epoch ")]
    assert first.startswith("epoch 1/2: ") and "loss" in first
    assert "left" in first and "left" not in last


def test_silent_processes_say_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "INTERVAL", 1e-4)
    with progress.silent():
        make_shapes(10, num_points=128)
    assert capsys.readouterr().err == ""
