"""One way down: a room imports rooms below it, and files form no circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "keras_pointpeft"
# From the roof to the ground.
ROOMS = (
    "commands",
    "reports",
    "experiments",
    "presets",
    "verification",
    "training",
    "checkpoints",
    "models",
    "adapters",
    "peft",
    "data",
    "step",
    "layers",
    "files",
    "ops",
)
# `from_preset` of a class calls the front door, which stands above it.
DOORS = {"models/backbone.py", "models/tasks/task.py"}


def files():
    return sorted(PACKAGE.rglob("*.py"))


def name(path):
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def imports(path):
    """What a file imports of the package, in functions too: paths."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in names):
            if parts[0] != PACKAGE.name:
                continue
            below = PACKAGE.joinpath(*parts[1:])
            # A module, a package, or a name in the one or the other.
            for place in (below, below.parent):
                if (place / "__init__.py").is_file():
                    found.add(place / "__init__.py")
                    break
                if place.with_suffix(".py").is_file():
                    found.add(place.with_suffix(".py"))
                    break
    return found - {path}


def room(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


@pytest.mark.once
def test_every_folder_is_a_room():
    folders = {p.parent.relative_to(PACKAGE).parts[:1] for p in files()}
    assert folders == {(), *((name,) for name in ROOMS)}


@pytest.mark.once
def test_imports_run_downwards():
    upwards = [
        f"{name(path)} -> {name(other)}"
        for path in files()
        for other in imports(path)
        if room(path) is not None and room(other) is not None
        if ROOMS.index(room(path)) > ROOMS.index(room(other))
        if not (
            path.relative_to(PACKAGE).as_posix() in DOORS
            and name(other) == "presets/__init__"
        )
    ]
    assert not upwards


@pytest.mark.once
def test_no_circles():
    graph = {path: imports(path) for path in files()}
    # A package's face lists its files; they do not look at their own face.
    done, circles = set(), []

    def visit(path, trail):
        if path in trail:
            circles.append([name(p) for p in trail[trail.index(path) :]])
        elif path not in done:
            for other in sorted(graph[path]):
                if not (
                    name(other) == "presets/__init__"
                    and path.relative_to(PACKAGE).as_posix() in DOORS
                ):
                    visit(other, [*trail, path])
            done.add(path)

    for path in graph:
        visit(path, [])
    assert not circles


@pytest.mark.once
def test_verification_is_for_its_script_and_tests_alone():
    users = [
        name(path)
        for path in files()
        if room(path) != "verification"
        and any(room(other) == "verification" for other in imports(path))
    ]
    assert not users
