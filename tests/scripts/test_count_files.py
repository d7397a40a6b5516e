import keras
import pytest

from tests.conftest import load_script

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="a step of torch is traced"
)


def test_files_of_a_step():
    script, _ = load_script("scripts/count_files.py")
    found = script.files_of_a_step(script.PRESETS["DAPT"])
    assert {
        "data/dataset.py",
        "layers/transformer_block.py",
        "peft/dapt/block.py",
        "step/optimizer.py",
    } <= set(found)
    # Nothing of other methods, of presets or of reports.
    assert not [
        name
        for name in found
        if name.startswith(("presets", "reports", "peft/point_peft"))
    ]
    table = script.table({"DAPT": found, "none": []})
    assert f"| all | {len(found)} | 0 | |" in table
    assert "| peft/dapt | " in table
