"""Runs the program of the guide on several GPUs, as one process."""

import keras
import pytest

import keras_pointpeft
from keras_pointpeft import data
from keras_pointpeft import training
from tests.docs import pages

pytestmark = pytest.mark.once

if keras.config.backend() != "torch":
    pytestmark = pytest.mark.slow


def test_own_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (own_code,) = pages.python_blocks("docs/guides/multi_gpu.md")
    split = data.load("shapes", num_clouds=40, num_points=128)
    names = {"keras_pointpeft": keras_pointpeft}
    names["recipe"] = training.Recipe(epochs=1, num_points=128, batch_size=16)
    names["train_split"] = names["test_split"] = split
    pages.run(
        own_code,
        names,
        [("dapt_pointmae_scanobjectnn", "dapt_pointmaetiny_shapes")],
    )
    assert (tmp_path / "my_task" / "adapter.json").is_file()
    assert (tmp_path / "runs/a/state.npz").is_file()
