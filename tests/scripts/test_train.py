import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = [pytest.mark.long, pytest.mark.once]

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    "--preset=dapt_pointmaetiny_shapes",
    "--weights=random",
    "--limit=40",
    "--batch_size=16",
)


def test_train_then_evaluate(run_script, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("plotly")
    pytest.importorskip("sklearn")
    arguments = (
        "train.py",
        *SMALL,
        "--epochs=1",
        "--seed=3",
        "--save_model",
        "--results=measured.csv",
    )
    run_script(*arguments)
    output = tmp_path / "runs" / "dapt_pointmaetiny_shapes_seed3"
    result = json.loads((output / "result.json").read_text())
    assert result["recipe"]["seed"] == 3
    page = (output / "report.html").read_text()
    assert "<h2>What each block does</h2>" in page
    times = "<td>before</td><td>after epoch 1</td><td>now</td>"
    assert f"<td>part</td>{times}" in page
    assert "live_block_4_scale" in (output / "log.csv").read_text()
    assert (output / "figures" / "blocks.png").exists()
    # Too few to hold some out: all are trained on, and the last epoch kept.
    assert result["train_clouds"] == 40 and result["test_clouds"] == 40
    assert result["selection"] == "last"
    adapter = json.loads((output / "adapter" / "adapter.json").read_text())
    contract = adapter["contract"]
    assert contract["class_names"][0] == "airplane"
    assert contract["num_points"] == 512 and contract["dataset"] == "shapes"
    assert "--seed=3" in contract["command"]
    assert (output / "adapter" / "adapter.json").exists()
    with open(tmp_path / "measured.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    accuracy = f"{100 * result['best_accuracy']:.2f}"
    assert float(row["best_accuracy"]) == float(accuracy)
    assert row["weights"] == "random"

    shown = run_script(
        "evaluate.py",
        "--preset=dapt_pointmaetiny_shapes",
        f"--model_dir={output / 'model'}",
        "--limit=40",
        "--per_class",
    )
    assert accuracy in shown.stdout
    assert "airplane" in shown.stdout


def test_report_of_a_run_folder(run_script, tmp_path):
    process = run_script("report.py", "--run=nowhere", check=False)
    assert process.returncode != 0
    assert "A run folder has a result.json" in process.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--preset=dapt_pointmae_scanobjectnn"], "--data=DIR is missing"),
        (
            ["--preset=dapt_pointmae_scanobjectnn", "--data=nowhere"],
            "training_objectdataset_augmentedrot_scale75.h5",
        ),
        (["--preset=pointmae_shapenet"], "must name a method"),
        ([], "--preset"),
    ],
)
def test_errors(run_script, arguments, message):
    process = run_script("train.py", *arguments, check=False)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr


@pytest.mark.slow
def test_a_killed_process_goes_on_exactly(run_script, tmp_path):
    arguments = (*SMALL, "--epochs=4", "--seed=0", "--noreport")
    run_script("train.py", *arguments, "--output=straight")
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "scripts" / "train.py"),
            *arguments,
            "--output=killed",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "killed" / "state.npz").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with np.load(tmp_path / "killed" / "state.npz") as state:
        meta = json.loads(state["meta"].tobytes())
    assert 1 <= meta["epochs_done"] < 4
    run_script("train.py", *arguments, "--output=killed")
    with (
        np.load(tmp_path / "straight" / "state.npz") as expected,
        np.load(tmp_path / "killed" / "state.npz") as found,
    ):
        assert expected.files == found.files
        for name in expected.files:
            if name != "meta":  # it holds seconds
                np.testing.assert_array_equal(expected[name], found[name])
