"""The names that Keras is told before anything is imported."""

import ast
from pathlib import Path

import pytest

from keras_pointpeft import registered

PACKAGE = Path(registered.__file__).parent


def registers(node):
    return isinstance(node, ast.ClassDef) and any(
        getattr(decorator, "id", None) == "serializable"
        for decorator in node.decorator_list
    )


@pytest.mark.once
def test_the_table_is_that_of_the_files():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        for node in filter(registers, ast.walk(tree)):
            assert node.name not in found
            found[node.name] = ".".join(parts)
    assert registered.MODULES == found
