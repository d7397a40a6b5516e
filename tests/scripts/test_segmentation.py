import csv
import json

import numpy as np
import pytest

pytestmark = [pytest.mark.long, pytest.mark.once]

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


def test_own_scenes(run_script, tmp_path):
    """Plots on a map with classes of their own, z up, or here x."""
    rng = np.random.default_rng(0)
    (tmp_path / "plots").mkdir()
    for area in (1, 2):
        points = rng.uniform(0, 4, (3000, 3))
        table = np.column_stack(
            (points + (350, 4e5, 5e6), np.zeros((3000, 3)), points[:, 0] > 2)
        )
        np.save(tmp_path / "plots" / f"Area_{area}_a.npy", table)
    np.savetxt(tmp_path / "new.xyz", table[:, :3], fmt="%.3f")
    run_script(
        "train.py",
        "--preset=dapt_pointmaetiny_rooms",
        "--dataset=s3dis",
        "--data=plots",
        "--up_axis=x",
        "--test_area=2",
        "--class_names=low,high",
        "--column_size=2",
        "--num_points=64",
        "--updates=40",
        "--output=run",
    )
    result = json.loads((tmp_path / "run/result.json").read_text())
    contract = result["contract"]
    assert contract["part_names"] == ["low", "high"]
    assert (contract["up_axis"], contract["test_area"]) == ("x", "2")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "high" in page
    shown = run_script("evaluate.py", "--adapter=run/adapter", "--data=plots")
    measured = f"{100 * result['figures']['miou']:.2f}"
    assert measured in shown.stdout
    run_script(
        "predict.py",
        "--adapter=run/adapter",
        "--output=shares.csv",
        "--labelled=out",
        "new.xyz",
    )
    with open(tmp_path / "shares.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    labels = np.loadtxt(tmp_path / "out" / "new.xyz")[:, 3]
    share = float(row["share of points: high"])
    assert share == pytest.approx(labels.mean(), abs=1e-3)
    # Turned as in training: what is high is at large x of the file.
    right = labels == (table[:, 0] - 350 > 2)
    assert right.mean() > 0.8


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
    assert (
        row["protocol"] == "scale_translate, rate by update, of 120 clouds"
    )
    before = (tmp_path / "few_shot.csv").read_text()
    shown = run_script(*arguments).stdout
    assert "episode" not in shown
    assert f"{row['mean']} ± {row['deviation']}" in shown
    assert (tmp_path / "few_shot.csv").read_text() == before
    wrong = run_script(
        "few_shot.py", "--preset=linear_pointmaetiny_rooms", check=False
    )
    assert wrong.returncode != 0 and "classification" in wrong.stderr


def test_few_shot_of_own_folders(run_script, tmp_path):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for number, kind in enumerate(("cup", "jug", "pot")):
            (tmp_path / "mine" / part / kind).mkdir(parents=True)
            for i in range(3):
                # Of unequal sizes, in metres on a map.
                cloud = rng.normal(size=(130 + 9 * i, 3)) * (1, 1, number + 1)
                np.save(
                    tmp_path / "mine" / part / kind / f"{i}.npy",
                    cloud + (4e5, 5e6, 300),
                )
    arguments = (
        "few_shot.py",
        "--preset=linear_pointmaetiny_shapes",
        "--dataset=folder",
        "--data=mine",
        "--num_points=128",
        "--ways=2",
        "--shots=2",
        "--queries=3",
        "--episodes=1",
        "--epochs=1",
        "--results=few_shot.csv",
    )
    shown = run_script(*arguments).stdout
    assert "2 ways, 2 shots, episode 0" in shown
    with open(tmp_path / "few_shot.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["dataset"] == "mine" and row["test_clouds"] == "6"
    assert "128 points" in row["protocol"]
    many = run_script(*arguments, "--ways=4", check=False)
    assert many.returncode != 0 and "4" in many.stderr


def test_download_data(run_script):
    process = run_script("download_data.py", "--list")
    assert "scanobjectnn" in process.stdout
    process = run_script(
        "download_data.py", "--dataset=scanobjectnn", check=False
    )
    assert process.returncode == 2 and "accept the terms" in process.stdout
