import pytest

from keras_pointpeft.presets import results

pytestmark = pytest.mark.once


def test_rows_of_two_methods(run_script, tmp_path):
    arguments = (
        "--output=rows.csv",
        "--methods=linear,lora",
        "--severities=1",
        "--epochs=1",
        "--limit=20",
        "--test_limit=8",
    )
    process = run_script("measure_corruptions.py", *arguments)
    rows = results.read(tmp_path / "rows.csv", results.CORRUPTED)
    assert len(rows) == 2 * 8
    assert {row["severity"] for row in rows} == {"0", "1"}
    assert process.stdout.count(": clean ") == 2
    # Nothing is run twice.
    process = run_script("measure_corruptions.py", *arguments)
    assert results.read(tmp_path / "rows.csv", results.CORRUPTED) == rows
    assert len(process.stdout.splitlines()) == 2
    # Another budget is another run.
    arguments = [*arguments[:-1], "--test_limit=6", "--methods=linear"]
    process = run_script("measure_corruptions.py", *arguments)
    more = results.read(tmp_path / "rows.csv", results.CORRUPTED)
    assert more[: len(rows)] == rows
    assert {row["test_clouds"] for row in more[len(rows) :]} == {"6"}
    assert process.stdout.count(": clean ") == 1
