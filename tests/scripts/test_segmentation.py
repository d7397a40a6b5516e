import csv
import json

import pytest

pytestmark = pytest.mark.once

SMALL = (
    "--weights=random",
    "--epochs=1",
    "--selection=last",
    "--batch_size=8",
)


@pytest.mark.parametrize(
    "dataset, limit, figure",
    [("shapesparts", 24, "instance_miou"), ("rooms", 1, "miou")],
)
def test_train_then_evaluate(run_script, tmp_path, dataset, limit, figure):
    preset = f"dapt_pointmaetiny_{dataset}"
    run_script(
        "train.py",
        f"--preset={preset}",
        f"--limit={limit}",
        "--output=run",
        "--results=segmentation.csv",
        *SMALL,
    )
    result = json.loads((tmp_path / "run/result.json").read_text())
    value = result["figures"][figure]
    assert 0 <= value <= 1
    with open(tmp_path / "segmentation.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row[figure]) == round(100 * value, 2)
    assert "512 points" in row["protocol"]


def test_few_shot(run_script, tmp_path):
    arguments = (
        "few_shot.py",
        "--preset=linear_pointmaetiny_shapes",
        "--ways=2",
        "--shots=2",
        "--queries=2",
        "--episodes=2",
        "--limit=120",
        "--epochs=1",
        "--weights=random",
        "--results=few_shot.csv",
    )
    process = run_script(*arguments)
    assert "2 ways, 2 shots, episode 1" in process.stdout
    with open(tmp_path / "few_shot.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    accuracies = [float(value) for value in row["accuracies"].split()]
    assert len(accuracies) == 2
    assert float(row["mean"]) == pytest.approx(sum(accuracies) / 2, abs=0.01)
    # What is known is not run again.
    assert row["protocol"] == "scale_translate, of 120 clouds"
    before = (tmp_path / "few_shot.csv").read_text()
    shown = run_script(*arguments).stdout
    assert "episode" not in shown
    assert f"{row['mean']} ± {row['deviation']}" in shown
    assert (tmp_path / "few_shot.csv").read_text() == before
    wrong = run_script(
        "few_shot.py", "--preset=linear_pointmaetiny_rooms", check=False
    )
    assert wrong.returncode != 0 and "classification" in wrong.stderr


def test_download_data(run_script):
    process = run_script("download_data.py", "--list")
    assert "scanobjectnn" in process.stdout
    process = run_script(
        "download_data.py", "--dataset=scanobjectnn", check=False
    )
    assert process.returncode == 2 and "accept the terms" in process.stdout
