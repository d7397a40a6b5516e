"""The site: every public name is in the reference, and has a docstring."""

import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest

import keras_pointpeft
from tests.conftest import load_file
from tests.docs import pages

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def hook():
    return load_file("docs/pages.py")


def test_every_public_name_is_documented(hook):
    shown = hook.public_names()
    for name in keras_pointpeft.__all__:
        assert name == "__version__" or (
            name in shown or name in shown["keras_pointpeft"]
        )
    for address, text in hook.reference().items():
        module = address.removeprefix("api/").removesuffix(".md")
        (full,) = re.findall(r"^# (\S+)$", text, re.MULTILINE)
        imported = importlib.import_module(full)
        names = shown[module]
        for name in names:
            assert name in text
            value = getattr(imported, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert value.__doc__, f"{full}.{name}"


def test_every_page_is_in_the_navigation(hook):
    listed = re.findall(r"(\S+\.md)$", navigation(), re.MULTILINE)
    written = {
        str(path.relative_to(pages.ROOT / "docs"))
        for path in (pages.ROOT / "docs").rglob("*.md")
    }
    assert len(listed) == len(set(listed))
    assert set(listed) == written | set(hook.reference()) | set(hook.COPIES)


def navigation():
    text = (pages.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return text.partition("\nnav:")[2]


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path, hook):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    process = subprocess.run(
        [
            *(sys.executable, "-m", "mkdocs", "build", "--strict"),
            *("--site-dir", str(tmp_path / "site")),
        ],
        cwd=pages.ROOT,
        env={**os.environ, "PYTHONPATH": str(pages.ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-5000:]
    assert "WARNING -" not in process.stderr
    for module, names in hook.public_names().items():
        folder = tmp_path / "site" / "api" / module.rpartition(".")[2]
        page = (folder / "index.html").read_text(encoding="utf-8")
        for name in names:
            assert re.search(rf'id="[\w.]*\b{name}"', page), name
