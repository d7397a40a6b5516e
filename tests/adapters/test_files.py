import json

import h5py
import keras
import numpy as np
import pytest

from keras_pointpeft import adapters
from keras_pointpeft.adapters import files
from keras_pointpeft.peft import DAPT
from tests.conftest import METHODS
from tests.conftest import small_classifier

pytestmark = pytest.mark.once


def values(model):
    return {v.path: v.numpy().copy() for v in model.weights}


def twin(model, peft):
    """Another model with the same backbone weights, freshly tuned."""
    other = small_classifier(peft)
    _, base = adapters.split_variables(model)
    for path, variable in adapters.split_variables(other)[1].items():
        # A copy: on jax, training gives the arrays of a model away.
        variable.assign(base[path].numpy())
    return other


@pytest.mark.parametrize("method", METHODS)
def test_round_trip(method, clouds, tmp_path):
    points, labels = clouds
    model = small_classifier(METHODS[method]())
    other = twin(model, METHODS[method]())
    before = adapters.fingerprint(model)
    model.fit(points, labels, epochs=2, batch_size=3, verbose=0)
    assert adapters.fingerprint(model) == before
    size = model.save_adapter(tmp_path / "task")
    assert size == sum(f.stat().st_size for f in (tmp_path / "task").iterdir())
    other.load_adapter(tmp_path / "task")
    np.testing.assert_array_equal(
        other.predict(points, verbose=0), model.predict(points, verbose=0)
    )


@pytest.mark.parametrize("method", METHODS)
def test_frozen_weights_stay_bit_identical(method, clouds):
    model = small_classifier(METHODS[method]())
    for variable in model.trainable_variables:
        if variable.path.endswith("adapter/scale/bias"):
            variable.assign([1.0])  # no dead ReLU to begin with
    before = values(model)
    model.fit(*clouds, epochs=3, batch_size=3, verbose=0)
    adapter, base = adapters.split_variables(model)
    for path in base:
        np.testing.assert_array_equal(values(model)[path], before[path])
    moved = [
        p for p in adapter if not np.array_equal(values(model)[p], before[p])
    ]
    trained = [v.path for v in model.trainable_variables]
    if method != "full":  # a ReLU may be dead in so small an encoder
        assert set(trained) <= set(moved)
    assert any("/moving_" in p for p in moved)


def test_another_base_is_refused(clouds, tmp_path):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    other = small_classifier(DAPT(rank=4))
    before = values(other)
    with pytest.raises(ValueError, match="another frozen backbone"):
        other.load_adapter(tmp_path)
    assert all(np.array_equal(v, before[p]) for p, v in values(other).items())


def test_another_shape_is_refused(tmp_path):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    with pytest.raises(ValueError, match="shape of block_0/tuner/adapter"):
        twin(model, DAPT(rank=5)).load_adapter(tmp_path)


def test_missing_and_unknown_variables_are_named(tmp_path):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    with h5py.File(tmp_path / files.WEIGHTS_FILE, "a") as file:
        del file["class_tokens/token"]
        file["stranger"] = np.zeros(3)
    with pytest.raises(ValueError) as error:
        model.load_adapter(tmp_path)
    assert "missing: class_tokens/token" in str(error.value)
    assert "unknown: stranger" in str(error.value)


def test_not_an_adapter(tmp_path):
    model = small_classifier(DAPT(rank=4))
    with pytest.raises(FileNotFoundError, match="adapter.json"):
        model.load_adapter(tmp_path / "nothing")
    model.save_adapter(tmp_path)
    config = json.loads((tmp_path / "adapter.json").read_text())
    config["format"] = 99
    (tmp_path / "adapter.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="format=99"):
        model.load_adapter(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    for name, message in (
        (files.WEIGHTS_FILE, f"{files.WEIGHTS_FILE} cannot be read as an h5"),
        (files.CONFIG_FILE, f"{files.CONFIG_FILE} is not JSON"),
    ):
        (tmp_path / name).write_text("{")
        with pytest.raises(ValueError, match=message):
            model.load_adapter(tmp_path)


def test_a_file_in_the_way_is_not_overwritten(tmp_path):
    (tmp_path / "task").write_text("precious")
    with pytest.raises(ValueError, match="a file stands there"):
        small_classifier(DAPT(rank=4)).save_adapter(tmp_path / "task")
    assert (tmp_path / "task").read_text() == "precious"


def test_summary_counts(capsys):
    model = small_classifier(DAPT(rank=4))
    report = model.peft_summary()
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert report["trainable"] == trainable
    assert report["components"] == {
        # norm 2 x 24, scale 24 + 1, down 24 x 4 + 4, up 4 x 24 + 24
        "dynamic adapter": 2 * (48 + 25 + 100 + 120),
        "internal prompt": 2 * 48,
        # per block 24 x (1 + 3 + 1 + 1 + 4 + 1), two more in the model
        "feature transforms": 2 * (2 * 24 * 11) + 2 * 48,
        "class token": 48,
    }
    assert report["head"] == 72 * 16 + 16 + 32 + 16 * 3 + 3
    assert f"{trainable:,}" in capsys.readouterr().out


def test_dropout_seeds_are_no_part_of_an_adapter(tmp_path):
    model = small_classifier(DAPT(rank=4, dropout=0.5))
    adapter, base = adapters.split_variables(model)
    assert not any("seed" in path for path in {**adapter, **base})
    seeds = [v for v in model.variables if "seed" in v.path]
    assert keras.config.backend() == "torch" or seeds


def test_another_value_in_the_file_is_seen(tmp_path):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    with h5py.File(tmp_path / files.WEIGHTS_FILE, "a") as file:
        file["head/logits/bias"][0] += 1e-6
    with pytest.raises(ValueError, match="is damaged, or not the file"):
        model.load_adapter(tmp_path)


def test_a_failed_save_keeps_the_old_adapter(tmp_path, monkeypatch):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_card", full)
    with pytest.raises(OSError, match="No space left"):
        model.save_adapter(tmp_path)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before
