"""Runs the notebook from top to bottom, with few scans and epochs."""

import json

import keras
import pytest

from tests.docs import pages

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        keras.config.backend() != "torch", reason="it chooses torch"
    ),
]
PATH = pages.ROOT / "docs" / "notebooks" / "quickstart.ipynb"


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("QUICKSTART_CLOUDS", "60")
    monkeypatch.setenv("QUICKSTART_EPOCHS", "1")


def cells():
    notebook = json.loads(PATH.read_text(encoding="utf-8"))
    found = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    # It is kept without what it printed.
    assert not any(c["outputs"] or c["execution_count"] for c in found)
    return ["".join(c["source"]) for c in found]


def test_cells_as_a_program(tmp_path, capsys):
    import matplotlib

    matplotlib.use("agg")
    text = "\n".join(cells())
    assert text.count("%pip") == 1
    exec(compile(text.replace("%pip", "pass  # "), str(PATH), "exec"), {})
    assert (tmp_path / "my_task" / "adapter.json").is_file()
    printed = capsys.readouterr().out
    assert "test scans" in printed and "(2, 32, 128)" in printed


@pytest.mark.slow
def test_in_jupyter(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream"
    ]
    assert any("test scans" in text for text in printed)
