"""Runs the guide on adapters as its reader would."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.data import make_shapes
from tests.docs import pages

pytestmark = pytest.mark.once

# It compiles ten times; what it shows is tested bit by bit elsewhere.
if keras.config.backend() != "torch":
    pytestmark = pytest.mark.slow


def clouds(classes, seed):
    made = make_shapes(num_clouds=40, num_points=128, domain="scan", seed=seed)
    return made.points[:6], np.arange(6, dtype="int32") % classes


def test_guide(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    found = pages.python_blocks("docs/guides/adapters.md")
    keep, load, several, heads, base, copy, merge, tensors = found
    names = {}
    names["points"], names["labels"] = clouds(3, 0)
    names["other_points"], names["other_labels"] = clouds(3, 1)
    names["five_points"], names["five_labels"] = clouds(5, 2)

    def run(block):
        pages.run(block, names)

    run(keep)
    trained = names["model"].predict(names["points"], verbose=0)
    folder = tmp_path / "adapters/workshop"
    assert names["size"] == sum(f.stat().st_size for f in folder.iterdir())
    run(load)
    model = names["model"]
    run(several)
    np.testing.assert_allclose(names["same"], trained, atol=1e-6)
    assert model.adapter_names == ["default", "copy"]
    run(heads)
    found = model.predict(names["points"], verbose=0)
    np.testing.assert_array_equal(found, names["same"])
    with pytest.raises(ValueError, match="set_adapter"):
        names["five"](names["points"])
    run(base)
    assert np.all(np.isfinite(ops.convert_to_numpy(names["tokens"])))
    run(copy)
    found = names["twin"].predict(names["points"], verbose=0)
    np.testing.assert_array_equal(found, names["same"])
    assert type(names["smaller"].backbone.peft).__name__ == "BitFit"
    run(merge)
    merged = names["merged"].predict(names["points"], verbose=0)
    expected = names["model"].predict(names["points"], verbose=0)
    np.testing.assert_allclose(merged, expected, atol=1e-5)
    run(tensors)
    model.load_adapter(tmp_path / "adapters/again")
    found = model.predict(names["points"], verbose=0)
    np.testing.assert_array_equal(found, names["same"])
