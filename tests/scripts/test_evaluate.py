import h5py
import numpy as np
import pytest

from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone


def test_published_beside_measured(run_script, tmp_path):
    backbone = PointMAEBackbone(
        num_groups=4,
        group_size=4,
        dim=12,
        depth=1,
        num_heads=2,
        encoder_dims=(8, 8, 16),
    )
    PointCloudClassifier(backbone, 15).save_to_preset(tmp_path / "model")
    (tmp_path / "main_split").mkdir()
    name = "test_objectdataset_augmentedrot_scale75.h5"
    with h5py.File(tmp_path / "main_split" / name, "w") as file:
        rng = np.random.default_rng(0)
        file["data"] = rng.normal(size=(5, 2048, 3)).astype("float32")
        file["label"] = np.arange(5)
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
