"""Files that version 0.1.0 wrote load, and give what they gave.

`tests/saved/write.py` says how they were made; they stay as they are.
"""

import json
import tarfile

import h5py
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
# Archives that are loaded on every backend, the others on one alone: files of
# each kind, and what each backend wrote.
EVERYWHERE = ("dapt", "dapt_tensorflow", "dapt_jax", "mae_pointpeft")
ARCHIVES = sorted(
    path.name.removesuffix(".tar.xz") for path in write.FOLDER.glob("*.tar.xz")
)


def case(archive):
    """Backbone, method, arguments and task of an archive."""
    name, _, writer = archive.rpartition("_")
    name = name if writer in ("tensorflow", "jax") else archive
    return (*write.CASES[name], "class")[:4]


def method(archive):
    return case(archive)[1]


def cases(wanted):
    """Runs a test on the archives that are wanted."""
    found = [
        pytest.param(name, marks=() if name in EVERYWHERE else pytest.mark.once)
        for name in ARCHIVES
        if wanted(name)
    ]
    # What tests share of an archive is made once.
    return pytest.mark.parametrize("saved", found, indirect=True)


every = cases(lambda name: True)
tasks = cases(method)


class Saved:
    """An archive, unpacked."""

    def __init__(self, name, files):
        self.name = name
        self.task = case(name)[3]
        self.files = files
        with tarfile.open(write.FOLDER / f"{name}.tar.xz") as tar:
            tar.extractall(files, filter="data")

    def same_outputs(self, model):
        found = write.outputs(model, self.task)
        expected = np.load(self.files / "outputs.npz")
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
    # It is compiled as it was, and training goes on where it stopped.
    assert int(from_file.optimizer.iterations) == 2


def arrays(folder):
    """The arrays of an adapter, by name."""
    found = {}
    with h5py.File(folder / "adapter.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                isinstance(item, h5py.Dataset)
                and found.update({name: item[()]})
            )
        )
    return found


@tasks
def test_adapter(saved, from_directory, tmp_path):
    spoil(from_directory.trainable_variables)
    from_directory.load_adapter(saved.files / "adapter")
    saved.same_outputs(from_directory)
    config = json.loads((saved.files / "adapter/adapter.json").read_text())
    assert config["peft"]["class_name"] == method(saved.name)
    # What is written today is what was written then.
    from_directory.save_adapter(tmp_path)
    found, expected = arrays(tmp_path), arrays(saved.files / "adapter")
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


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
    # And any backend makes the same one.
    points = np.tile(write.clouds()[0], (3, 1, 1))
    made = PriorBank.build(from_directory, points, verbose=0)
    np.testing.assert_allclose(made.features, bank.features, atol=2e-3)
    assert made.fingerprint == bank.fingerprint


def of_this_backend(name):
    """A training state is for the backend that wrote it."""
    suffix = "" if BACKEND == "torch" else f"_{BACKEND}"
    own = name.endswith(("_tensorflow", "_jax"))
    return name == f"dapt{suffix}" if suffix else not own


@cases(of_this_backend)
def test_training_state(saved, from_file):
    points, labels = write.clouds()
    split = Split(points, labels, ("a", "b", "c"), name="clouds")
    # The selection was the default then, and the schedule the only one.
    recipe = Recipe(
        epochs=2,
        batch_size=2,
        warmup_epochs=1,
        selection="held_out",
        schedule="epoch",
    )
    spoil(from_file.variables)
    about = identity(from_file, recipe, split)
    state = TrainingCheckpoint(saved.files / "state.npz", about)
    assert state.restore(from_file) == 1
    assert [row["epoch"] for row in state.history] == [0]
    assert int(from_file.optimizer.iterations) == 2
    saved.same_outputs(from_file)
