"""What reading costs, at sizes of next to nothing."""

import csv
import json

import pytest

pytestmark = pytest.mark.once

for package in ("laspy", "lazrs", "h5py"):
    pytest.importorskip(package)


def test_each_format_is_a_row(run_script, tmp_path):
    sizes = ("--scans=4", "--files=2", "--points=300", "--drawn=64")
    done = run_script(
        "measure_files.py", *sizes, "--side=0", "--results=rows.csv"
    )
    with open(tmp_path / "rows.csv") as file:
        rows = list(csv.DictReader(file))
    kinds = ("npy", "bin", "ply", "pcd", "las", "laz", "h5")
    assert [row["benchmark"] for row in rows] == [
        f"reading_{kind}" for kind in kinds
    ]
    for row in rows:
        ratio = float(row["value"]) / float(row["baseline_value"])
        assert abs(ratio - float(row["ratio"])) < 1e-2 * ratio
        assert row["wanted"] == "2.0" and row["batch_size"] == "4"
        assert row["repeats"] == "1"
    assert done.stdout.count("memory grew by") == len(kinds)


def test_all_of_the_scene_is_predicted(run_script):
    done = run_script("measure_files.py", "--scene", "--side=30")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["points"] == 7200 == sum(found["labels"])
    assert found["bytes"] > 1e8
