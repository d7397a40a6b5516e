"""Files that version 0.1.0 wrote load, and give what they gave.

`tests/saved/write.py` says how they were made; they stay as they are.
"""

import json
import tarfile

import keras
import numpy as np
import pytest

from keras_pointpeft import from_preset
from keras_pointpeft.adapters import import_safetensors
from keras_pointpeft.data import Split
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import TrainingCheckpoint
from keras_pointpeft.training.checkpoint import identity
from tests.saved import write

BACKEND = keras.config.backend()


def cases(wanted=lambda name: True):
    """All of them on one backend, and of each kind of file one on all."""
    names = [name for name in write.CASES if wanted(name)]
    found = [
        pytest.param(
            name, id=name, marks=() if name == "dapt" else pytest.mark.once
        )
        for name in names
    ]
    # What tests share of an archive is made once.
    return pytest.mark.parametrize("saved", found, indirect=True)


def method(name):
    return write.CASES[name][1]


every = cases()
tasks = cases(method)


class Saved:
    """An archive, unpacked, and the models made of it."""

    def __init__(self, name, folder):
        self.name = name
        self.task = (*write.CASES[name], "class")[3]
        self.folder = folder
        for part in (name, f"{name}_{BACKEND}"):
            path = write.FOLDER / f"{part}.tar.xz"
            if path.is_file():
                with tarfile.open(path) as tar:
                    tar.extractall(folder / part, filter="data")
        self.files = folder / name
        self.state = folder / (name if BACKEND == "torch" else part)

    def same_outputs(self, model, files=None):
        found = write.outputs(model, self.task)
        expected = np.load((files or self.files) / "outputs.npz")
        assert set(found) == set(expected)
        for name in found:
            np.testing.assert_allclose(
                found[name], expected[name], atol=2e-5, err_msg=name
            )


@pytest.fixture(scope="module")
def saved(request, tmp_path_factory):
    return Saved(request.param, tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module")
def from_directory(saved):
    return from_preset(str(saved.files / "preset"))


@pytest.fixture(scope="module")
def from_file(saved):
    return keras.saving.load_model(saved.files / "model.keras")


def spoil(variables):
    """Nothing of what a test finds was there before it loads a file."""
    for variable in variables:
        if np.issubdtype(variable.numpy().dtype, np.floating):
            variable.assign(np.full(variable.shape, 0.5))


@every
def test_preset_directory(saved, from_directory):
    if saved.task != "pretrain":
        saved.same_outputs(from_directory)
        return
    source = keras.saving.load_model(saved.files / "model.keras").backbone
    trained = {v.path: v.numpy() for v in source.weights}
    for variable in from_directory.weights:
        np.testing.assert_array_equal(variable.numpy(), trained[variable.path])


@every
def test_model_file(saved, from_file):
    saved.same_outputs(from_file)


@tasks
def test_adapter(saved, from_directory):
    spoil(from_directory.trainable_variables)
    from_directory.load_adapter(saved.files / "adapter")
    saved.same_outputs(from_directory)
    config = json.loads((saved.files / "adapter/adapter.json").read_text())
    assert config["peft"]["class_name"] == method(saved.name)


@cases(lambda name: method(name) == "DAPT")
def test_safetensors(saved, from_directory, tmp_path):
    pytest.importorskip("safetensors")
    file = saved.files / "adapter.safetensors"
    import_safetensors(file, tmp_path / "adapter")
    spoil(from_directory.trainable_variables)
    from_directory.load_adapter(tmp_path / "adapter")
    saved.same_outputs(from_directory)


@cases(lambda name: method(name) == "PointPEFT")
def test_bank(saved, from_directory):
    bank = PriorBank.load(saved.files / "bank.npz")
    assert len(bank) == 12
    spoil(from_directory.backbone.get_layer("tuner_prior").variables)
    bank.attach(from_directory)
    saved.same_outputs(from_directory)


@every
def test_training_state(saved, from_file):
    path = saved.state / f"state_{BACKEND}.npz"
    if not path.is_file():
        pytest.skip(f"written on another backend than {BACKEND}")
    points, labels = write.clouds()
    split = Split(points, labels, ("a", "b", "c"), name="clouds")
    recipe = Recipe(epochs=2, batch_size=2, warmup_epochs=1)
    spoil(from_file.variables)
    state = TrainingCheckpoint(path, identity(from_file, recipe, split))
    assert state.restore(from_file) == 1
    assert [row["epoch"] for row in state.history] == [0]
    assert int(from_file.optimizer.iterations) == 2
    saved.same_outputs(from_file, saved.state)
