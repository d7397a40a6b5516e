"""Scripts that do one thing, at next to no size."""

import csv
import json
import re
import subprocess
import types

import h5py
import numpy as np
import pytest
from absl import flags

import keras_pointpeft
from keras_pointpeft import checkpoints
from keras_pointpeft import data
from keras_pointpeft.experiments.comparison import Entrant
from keras_pointpeft.presets import results
from tests.conftest import imported_script
from tests.scripts.conftest import ROOT

pytestmark = pytest.mark.once

TINY = "dapt_pointmaetiny_shapes"
BANKED = "pointpeft_pointmaetiny_shapes"


def test_a_bank(run_script, tmp_path):
    shown = run_script(
        "build_bank.py", f"--preset={BANKED}", "--limit=6", "--output=bank.npz"
    )
    assert "6 entries of width" in shown.stdout
    assert len(keras_pointpeft.peft.PriorBank.load(tmp_path / "bank.npz")) == 6


def test_a_file_for_published_code(run_script, tmp_path):
    shown = run_script(
        "export_checkpoint.py",
        "--preset=pointmaetiny_shapes",
        "--pretrained",
        "--output=backbone.pth",
    )
    written = checkpoints.read_checkpoint(tmp_path / "backbone.pth")
    assert f"backbone.pth: {len(written)} tensors" in shown.stdout


def test_new_scans(run_script, tmp_path):
    model = keras_pointpeft.from_preset(TINY, load_weights="backbone")
    model.save_adapter(tmp_path / "adapter")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "scan.npy", rng.normal(size=(90, 3)))
    shown = run_script("predict.py", "--adapter=adapter", "scan.npy")
    assert shown.stdout.startswith("scan.npy: ")
    # Of a model that nobody has told how many points it expects.
    np.save(tmp_path / "few.npy", rng.normal(size=(9, 3)))
    wrong = run_script(
        "predict.py", "--adapter=adapter", "few.npy", check=False
    )
    assert wrong.returncode and "few.npy" in wrong.stderr
    assert "9 points, fewer than 32" in wrong.stderr


def test_pretraining(run_script, tmp_path):
    run_script(
        "pretrain.py",
        "--backbone=pointmaetiny",
        "--num_clouds=4",
        "--stored_points=512",
        "--batch_size=2",
        "--epochs=1",
        "--warmup=0",
        "--decoder_depth=1",
        "--output=run",
    )
    assert keras_pointpeft.from_preset(tmp_path / "run" / "backbone").built


def test_recorded_cases(run_script):
    golden = ROOT / "tests" / "golden"
    shown = run_script(
        "verify_reference.py", f"--fixtures={golden}", "--cases=ops_fps*"
    )
    assert shown.stdout.splitlines()[-1].endswith("0 FAIL, 0 unknown")


def test_serving_is_measured(run_script, tmp_path, monkeypatch):
    """Every way in a process of its own, here played by this one."""
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- measured -->\nold\n<!-- /measured -->\nb\n")

    def run(command, **_):
        (way,) = [w[6:] for w in command if w.startswith("--way=")]
        found = {"versions": way, "cores": 2, "1": 8.25, "megabytes": 200}
        return types.SimpleNamespace(stdout=f"a line\n{json.dumps(found)}\n")

    monkeypatch.setattr(subprocess, "run", run)
    run_script("measure_serving.py", "--batches=1", f"--page={page}")
    text = page.read_text()
    assert "| ONNX Runtime | 8.2 | 200 |" in text and "old" not in text
    assert text.startswith("a\n") and text.endswith("\nb\n")


def write_set(folder, num_points):
    """Clouds of two classes in ScanObjectNN's layout."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part in ("training", "test"):
        with h5py.File(folder / f"{part}_objectdataset.h5", "w") as file:
            points = rng.normal(size=(16, num_points, 3)).astype("float32")
            file["data"] = data.unit_sphere(points)
            file["label"] = np.arange(16) % 2


def test_selection_is_measured(run_script, tmp_path):
    write_set(tmp_path / "sets", 128)
    arguments = (
        "measure_selection.py",
        f"--data={tmp_path}",
        "--output=rows.csv",
        "--sets=sets:2:8:1",
        "--updates=2",
        "--num_points=128",
    )
    first = run_script(*arguments).stdout
    with open(tmp_path / "rows.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["set"], row["train_clouds"]) == ("sets", "16")
    # What is there already is not run again.
    again = run_script(*arguments).stdout
    assert again in first and "over 1 runs" in again


def test_scales_are_measured(run_script, tmp_path):
    write_set(tmp_path / "sets", 1024)
    arguments = (
        "measure_scales.py",
        f"--data={tmp_path}",
        "--output=rows.csv",
        "--sets=sets",
        "--methods=dapt:scale_start=one:scale_leak=0.1",
        "--seeds=0",
        "--updates=2",
        "--batch_size=8",
    )
    run_script(*arguments)
    (row,) = results.read(tmp_path / "rows.csv", results.SCALES)
    assert (row["set"], row["train_clouds"]) == ("sets", "16")
    # Scales of one let every token through.
    assert set(row["live_before"].split()) == {"1.000"}
    assert len(row["live_after"].split()) == len(row["live_before"].split())
    # What is there already is not run again.
    assert run_script(*arguments).stdout == ""
    assert results.read(tmp_path / "rows.csv", results.SCALES) == [row]


def test_updates_at_test_time_are_measured(run_script, tmp_path):
    arguments = (
        "measure_test_time.py",
        "--output=rows.csv",
        "--epochs=1",
        "--limit=32",
        "--test_limit=8",
        "--corruptions=noise",
        "--rates=0.01",
    )
    run_script(*arguments)
    rows = results.read(tmp_path / "rows.csv", results.TEST_TIME)
    kinds = [(row["corruption"], row["severity"]) for row in rows]
    assert kinds == [("none", "0"), ("noise", "3")]
    for row in rows:
        # No more predictions can turn right or wrong than change.
        moved = abs(float(row["with_updates"]) - float(row["without"]))
        assert moved <= float(row["changed"]) <= 100
        assert float(row["cpu_seconds"]) > 0
    # What is there already is not run again.
    assert run_script(*arguments).stdout == ""


@pytest.mark.parametrize("name", ["scales", "scales_by_update"])
def test_dead_scales_of_the_zoo_are_those_that_the_guides_tell(name):
    rows = results.read(ROOT / f"zoo/results/{name}.csv", results.SCALES)
    dead, accuracy = {}, {}
    for row in rows:
        if row["seed"] in "012":
            method = row["method"]
            dead.setdefault(method, []).append(int(row["shut_after"]))
            figure = float(row["last_accuracy"])
            accuracy.setdefault(method, []).append(figure)
    sets = 4 * 3
    assert {len(own) for own in dead.values()} == {sets}
    guide = (ROOT / "docs/guides/comparing_methods.md").read_text("utf-8")
    _, told = guide.split(f"`zoo/results/{name}.csv`")
    table = told.split(f"| dead blocks of {5 * sets} |")[1]
    told = re.findall(r"\| ([\d.]+) \| (\d+) \|$", table.split("\n\n")[0], re.M)
    assert [int(count) for _, count in told] == [sum(x) for x in dead.values()]
    means = [sum(x) / sets for x in accuracy.values()]
    assert [float(mean) for mean, _ in told] == pytest.approx(means, abs=0.06)


def test_which_runs_of_small_sets_are_known():
    with imported_script("scripts/measure_selection.py") as script:
        flags.FLAGS.mark_as_parsed()
        run = script.run_of("dales5", "5", "32", 0)
        assert script.is_known(run, [dict(run)])
        for name, other in (("updates", "300"), ("num_points", "512")):
            assert not script.is_known(run, [{**run, name: other}])
            # A row of before does not say.
            assert script.is_known(run, [{**run, name: ""}])
        assert not script.is_known(run, [{"set": "psb69", "seed": "0"}])


def test_equal_seconds_are_by_the_steps_that_were_measured():
    entrants = [
        Entrant.from_text(text, "pointmaetiny", "shapes")
        for text in ("linear", "lora:rank=2")
    ]
    rows = [
        {"preset": f"{name}_pointmaetiny_shapes", "changes": changes}
        | {"batch_size": batch_size, "step_seconds": step}
        for name, changes, batch_size, step in (
            ("lora", "rank=2", "32", "0.5"),
            ("lora", "", "32", "0.6"),
            ("linear", "", "32", "0.25"),
            ("linear", "", "16", "0.1"),
        )
    ]
    with imported_script("scripts/measure_methods.py") as script:
        flags.FLAGS(["measure_methods.py", "--output=steps.csv"])
        assert script.steps_of(entrants, rows) == [0.25, 0.5]
        with pytest.raises(ValueError, match="no step of lora_.* rank=2"):
            script.steps_of(entrants, rows[1:])
