"""Runs the guide on serving as its reader would."""

import json

import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import data
from tests.docs import pages

pytestmark = pytest.mark.once


def test_files_arrays_and_what_a_file_says(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    scans = [rng.normal(size=(size, 3)) + 40 for size in (300, 200, 90)]
    (tmp_path / "new_scans").mkdir()
    for number, scan in enumerate(scans):
        np.save(tmp_path / "new_scans" / f"{number}.npy", scan)
    model = keras_pointpeft.from_preset(
        "dapt_pointmaetiny_shapes", load_weights="backbone", num_classes=2
    )
    model.contract = data.Contract(
        class_names=("a", "b"),
        num_points=128,
        sampling="fps",
        normalization="unit_sphere",
    )
    model.save_adapter("my_adapter")
    files, arrays, elsewhere = pages.python_blocks("docs/guides/serving.md")
    names = {"scans": scans}
    with pytest.warns(UserWarning, match="fewer than the 128"):
        pages.run(files, names)
        pages.run(arrays, names)
    assert names["found"].name in ("a", "b")
    assert len(names["names"]) == 3 and names["points"].shape == (3, 128, 3)
    model = names["model"]
    model.export("model.onnx", format="onnx")
    pages.run(elsewhere, names)
    assert names["name"] == names["names"][0]
    assert "128 points" in names["about"]["expects"]
    # What the page does with NumPy alone is what the contract does.
    for changes in (
        {"stored_points": 250},
        {"stored_points": 128, "sampling": "first", "up_axis": "z"},
        {"normalization": "none", "sampling": "first", "up_axis": "x"},
    ):
        contract = model.contract.told(**changes)
        told = json.loads(json.dumps(contract.to_dict()))
        for scan in scans[:2]:
            found = names["prepare"](scan, told)
            np.testing.assert_allclose(
                found, contract.prepare([scan]), atol=2e-6
            )
