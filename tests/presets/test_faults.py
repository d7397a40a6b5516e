"""Faults of preset directories and of the cache, injected and counted.

Prints a table with `-s`. A damaged preset is named and refused, or what is
read is what was saved, bit by bit; no file is ever written to.
"""

import errno
import json
import shutil

import h5py
import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft.files import preset_folder
from keras_pointpeft.peft import DAPT
from tests.conftest import small_backbone
from tests.conftest import small_classifier
from tests.faults import inject
from tests.faults import report

pytestmark = pytest.mark.once

FILES = (
    "config.json",
    "task.json",
    "metadata.json",
    "model.weights.h5",
    "task.weights.h5",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A preset directory, and the values of its variables."""
    folder = tmp_path_factory.mktemp("preset") / "saved"
    model = small_classifier(DAPT(rank=4))
    model.save_to_preset(folder)
    return folder, values(model)


@pytest.fixture
def preset(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved[0], tmp_path / "preset")


def values(model):
    found = [v for v in model.variables if "seed" not in v.path]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in found]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def load(folder, expected, **kwargs):
    model = keras_pointpeft.from_preset(folder, **kwargs)
    for a, b in zip(values(model), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def edit(path, change):
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def unsealed(folder):
    """Takes the checksums away, as if another program had written it."""
    path = folder / "metadata.json"
    edit(path, lambda metadata: metadata.pop("keras_pointpeft"))


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(saved, preset, name):
    before = contents(preset)
    table = inject(preset / name, lambda: load(preset, saved[1]), lambda: None)
    if name != "metadata.json":  # where a date may change
        assert all(tried == refused for tried, refused in table.values())
    assert contents(preset) == before
    report(f"preset: {name}", table)


# Each builds a model, which takes long on jax and shows nothing else there.
builds = pytest.mark.slow if keras.config.backend() == "jax" else ()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("model.weights.h5", marks=builds),
        pytest.param("task.weights.h5", marks=builds),
    ],
)
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_weights_that_are_cut_off_without_checksums(saved, preset, name, part):
    unsealed(preset)
    load(preset, saved[1])
    content = (preset / name).read_bytes()
    (preset / name).write_bytes(content[: int(part * len(content))])
    with pytest.raises((OSError, ValueError, KeyError)):
        keras_pointpeft.from_preset(preset)


def remove(name):
    return lambda folder: (folder / name).unlink()


def change(name, key, value):
    def fault(folder):
        edit(folder / name, lambda saved: saved["config"].update({key: value}))

    return fault


def other_class(folder):
    def point(config):
        config["registered_name"] = "keras_pointpeft>PointCloudClassifier"

    edit(folder / "config.json", point)


def other_weights(folder):
    other = small_backbone(DAPT(rank=5))
    other.save_weights(folder / "model.weights.h5")


def terabyte(folder):
    with h5py.File(folder / "model.weights.h5", "a") as file:
        name = "layers/class_tokens/vars/0"
        del file[name]
        file.create_dataset(
            name, (2**38,), "float32", chunks=(2**20,), compression="gzip"
        )


def later_format(folder):
    path = folder / "metadata.json"
    edit(path, lambda m: m["keras_pointpeft"].update(format=99))


def no_sums(folder):
    path = folder / "metadata.json"
    edit(path, lambda m: m["keras_pointpeft"].pop("sha256"))


def foreign_task(folder):
    small_classifier(num_classes=2).save_to_preset(folder.parent / "other")
    for name in ("task.json", "task.weights.h5"):
        shutil.copy(folder.parent / "other" / name, folder / name)


def code_in_a_config(folder):
    call = {"module": "os", "class_name": "system", "registered_name": None}
    call["config"] = {"command": f"touch {folder}/ran"}
    change("config.json", "peft", call)(folder)


# Fault, whether checksums are taken away first, and what the error says.
FAULTS = [
    (remove("config.json"), False, "has a config.json"),
    (remove("model.weights.h5"), False, "has no weights"),
    (remove("task.weights.h5"), False, "has no weights"),
    (change("config.json", "group_size", 9), False, "changed"),
    (change("task.json", "dropout", 0.9), False, "changed"),
    (other_weights, False, "changed"),
    (foreign_task, False, "changed"),
    (later_format, False, "reads presets of format 1 to 1"),
    (no_sums, False, "no checksums"),
    (change("config.json", "dim", 27), True, "shape"),
    (change("config.json", "depth", 3), True, "could not be loaded"),
    (change("config.json", "dim", 3 * 10**9), True, "too small for"),
    (change("config.json", "depth", 10**9), True, "too small for"),
    (change("config.json", "encoder_dims", [8, 10**6, 10**6]), True, "small"),
    (change("config.json", "no_such", 1), True, "no_such"),
    (other_class, True, "PointBackbone"),
    (other_weights, True, "shape"),
    (terabyte, True, "TB"),
    (code_in_a_config, True, "system"),
]


@pytest.mark.parametrize(
    "fault, without_sums, message",
    [
        pytest.param(*fault, id=str(i), marks=builds if fault[1] else ())
        for i, fault in enumerate(FAULTS)
    ],
)
def test_wrong_presets_are_named(preset, fault, without_sums, message):
    if without_sums:
        unsealed(preset)
    fault(preset)
    before = contents(preset)
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        keras_pointpeft.from_preset(preset)
    assert contents(preset) == before


def test_saving_again_leaves_no_mixture(saved, preset):
    note = preset / "notes.txt"
    note.write_text("mine")
    backbone = small_backbone()
    backbone.save_to_preset(preset)
    assert not (preset / "task.json").exists()
    assert note.read_text() == "mine"
    load(preset, values(backbone))


@pytest.mark.parametrize("at", FILES[:2] + FILES[3:])
def test_a_full_disk_keeps_the_old_preset(saved, preset, monkeypatch, at):
    before = contents(preset)
    model = small_classifier(num_classes=5)
    sealed = preset_folder.sha256_of

    # The disk is full when the files are read again, or while one is made.
    def full(path):
        if path.name == at:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return sealed(path)

    monkeypatch.setattr(preset_folder, "sha256_of", full)
    with pytest.raises(OSError, match="No space left"):
        model.save_to_preset(preset)
    monkeypatch.undo()
    assert contents(preset) == before
    assert [path.name for path in preset.parent.iterdir()] == ["preset"]
    load(preset, saved[1])
