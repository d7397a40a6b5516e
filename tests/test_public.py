"""What is public: one page lists it, and scripts use nothing else."""

import ast
import inspect
import pathlib
import re

import pytest

import keras_pointpeft

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "names.md"
# They check what stands behind the public names.
CHECKS = {"gpu_check.py", "verify_reference.py"}


def faces():
    """Public modules by their full names, those inside others too."""
    found, todo = {}, [keras_pointpeft]
    while todo:
        module = todo.pop()
        found[module.__name__] = module
        values = [getattr(module, name) for name in shown(module)]
        todo += [value for value in values if inspect.ismodule(value)]
    return found


def shown(module):
    """What a module says is public, or else what it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    )


def names():
    """Public functions and classes with the first sentence about them."""
    found = {}
    for path, module in faces().items():
        for name in shown(module):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                full = f"{path}.{name}".removeprefix("keras_pointpeft.")
                found[full] = inspect.getdoc(value).partition("\n\n")[0]
    return {name: " ".join(doc.split()) for name, doc in found.items()}


def test_one_page_lists_the_public_names():
    text = PAGE.read_text(encoding="utf-8")
    listed = re.findall(r"^- `([\w.]+)`: (.+)$", text, re.MULTILINE)
    assert len(listed) == len(dict(listed))
    assert dict(listed) == names()


def test_scripts_use_public_names_alone():
    public, private = faces(), []
    scripts = sorted((ROOT / "scripts").rglob("*.py"))
    for path in (path for path in scripts if path.name not in CHECKS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            module = node.module or ""
            if module.partition(".")[0] != "keras_pointpeft":
                continue
            for alias in node.names:
                names = shown(public[module]) if module in public else ()
                if alias.name not in names:
                    private.append(f"{path.name}: {module}.{alias.name}")
    assert not private
