import h5py
import numpy as np
import pytest

from keras_pointpeft import checkpoints
from keras_pointpeft import presets
from keras_pointpeft.checkpoints import loading
from keras_pointpeft.presets import results
from tests.checkpoints import published

pytestmark = [pytest.mark.long, pytest.mark.once]

pytest.importorskip("torch")


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def write_scans(folder, count=5):
    """A test split of ScanObjectNN in the official layout."""
    (folder / "main_split").mkdir()
    name = "test_objectdataset_augmentedrot_scale75.h5"
    with h5py.File(folder / "main_split" / name, "w") as file:
        rng = np.random.default_rng(0)
        file["data"] = rng.normal(size=(count, 2048, 3)).astype("float32")
        file["label"] = np.arange(count)


def test_published_beside_measured(run_script, tmp_path):
    model = published.classifier("PointMAEBackbone", classes=15)
    model.save_to_preset(tmp_path / "model")
    write_scans(tmp_path)
    process = run_script(
        "evaluate.py",
        "--preset=dapt_pointmae_scanobjectnn",
        "--model_dir=model",
        f"--data={tmp_path}",
        "--votes=2",
    )
    lines = process.stdout.splitlines()
    assert any("published" in line and "85.08" in line for line in lines)
    assert any("measured" in line and "2 votes" in line for line in lines)
    assert any("5 clouds" in line for line in lines)


@pytest.mark.parametrize(
    "preset, backbone, figure, protocol",
    [
        ("full_pointgpts", "PointGPTBackbone", "86.9", "best epoch"),
        slow("full_pointbert", "PointBERTBackbone", "83.07", "scale"),
        slow("full_act", "ACTBackbone", "88.21", "rotate, best epoch"),
        slow("full_recon", "ReConBackbone", "91.26", "best of 8 seeds"),
    ],
)
def test_converted_checkpoint(
    run_script, tmp_path, monkeypatch, preset, backbone, figure, protocol
):
    monkeypatch.setitem(loading.NUM_HEADS, 24, 3)
    model = published.shuffled(published.classifier(backbone, classes=15))
    checkpoints.write_checkpoint(model, tmp_path / "file.pth")
    presets.convert(tmp_path / "file.pth", tmp_path / "model")
    write_scans(tmp_path)
    process = run_script(
        "evaluate.py",
        f"--preset={preset}_scanobjectnn",
        "--model_dir=model",
        f"--data={tmp_path}",
    )
    lines = [x for x in process.stdout.splitlines() if figure in x]
    assert "published" in lines[0] and protocol in lines[0]
    assert "measured" in process.stdout and "5 clouds" in process.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--preset=NAME or --model_dir=DIR is missing"),
        (["--preset=dapt_pointmae_scanobjectnn"], "--data=DIR is missing"),
        (["--model_dir=x"], "--dataset=NAME is missing"),
    ],
)
def test_errors(run_script, arguments, message):
    process = run_script("evaluate.py", *arguments, check=False)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr


def test_corrupted_clouds(run_script, tmp_path):
    model = published.classifier("PointMAEBackbone", classes=15)
    model.save_to_preset(tmp_path / "model")
    write_scans(tmp_path)
    arguments = (
        "--preset=dapt_pointmae_scanobjectnn",
        "--model_dir=model",
        f"--data={tmp_path}",
        "--num_points=512",
        "--severities=1",
    )
    process = run_script(
        "evaluate.py",
        *arguments,
        "--corruptions=noise,dropout_local",
        "--rows=rows.csv",
    )
    assert "noise" in process.stdout and "5 clouds" in process.stdout
    assert "mean corruption error" in process.stdout
    rows = results.read(tmp_path / "rows.csv", results.CORRUPTED)
    assert [(r["corruption"], r["num_points"]) for r in rows] == [
        *(("none", "512"), ("noise", "512"), ("dropout_local", "461"))
    ]
    for wrong, message in (
        ("--corruptions=fog", "`corruption` must be one of"),
        ("--corruptions=all --votes=2", "without votes"),
    ):
        process = run_script(
            "evaluate.py", *arguments, *wrong.split(), check=False
        )
        assert process.returncode != 0
        assert message in process.stdout + process.stderr


@pytest.mark.parametrize("dataset", ["folder", "h5", "s3dis"])
def test_what_points_have_beside_is_read_as_in_training(dataset):
    from keras_pointpeft.commands import evaluate
    from keras_pointpeft.data import Contract

    evaluate.FLAGS(["evaluate", "--adapter=DIR"])
    contract = Contract(channels=("colors", "intensity"), color_range=255.0)
    options = evaluate.options(dataset, contract)
    assert options["channels"] == ("colors", "intensity")
    assert options["color_range"] == 255
    assert "channels" not in evaluate.options("shapes", contract)
    assert "channels" not in evaluate.options(dataset, Contract())
