"""What reading costs, at sizes of next to nothing."""

import csv

import numpy as np
import pytest

from tests.conftest import imported_script

pytestmark = pytest.mark.once

for package in ("laspy", "lazrs", "h5py"):
    pytest.importorskip(package)


@pytest.fixture
def script():
    with imported_script("scripts/measure_files.py") as module:
        for flag in ("SCANS", "FILES", "POINTS", "DRAWN"):
            flag = getattr(module, flag)
            flag.value = {"points": 300, "drawn": 64}.get(flag.name, 4)
        yield module


def test_each_format_is_a_row(script, tmp_path):
    script.SIDE.value = 0
    script.RESULTS.value = str(tmp_path / "rows.csv")
    script.main(None)
    with open(tmp_path / "rows.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["benchmark"] for row in rows] == [
        f"reading_{kind}" for kind in script.FORMATS
    ]
    for row in rows:
        ratio = float(row["value"]) / float(row["baseline_value"])
        assert abs(ratio - float(row["ratio"])) < 1e-2 * ratio


def test_the_scene_is_on_a_map_and_all_of_it_is_predicted(script):
    script.SIDE.value = 30
    found = script.scene()
    assert found["points"] == 7200 == sum(found["labels"])
    assert found["bytes"] > 1e8
    points = script.hills(30, 1000)
    np.testing.assert_array_less((4e5, 5.4e6), points.min(axis=0)[:2])
    assert points.dtype == "float64"
