"""The commands of the documentation: parsed by the scripts that they call.

Every command is in `RUN`, with what makes it short enough for a test, or in
`NOT_RUN`, with the reason; a new one fails until it is in either.
"""

import ast
import copy
import fnmatch
import importlib
import re
import shlex
import subprocess

import pytest
from absl import flags

import keras_pointpeft
from keras_pointpeft import checkpoints
from tests.conftest import load_script
from tests.docs import pages
from tests.docs.test_own_data import write_scans

pytestmark = pytest.mark.once

DATA = "needs the official data set, and weights of 22 M parameters and more"
DEVICES = "needs a cluster; tests/training/test_parallel.py runs processes"
SEGMENTED = "takes minutes; tests/scripts runs smaller ones"
ITSELF = "is what runs the tests"
RUN = {
    "python scripts/compare.py --backbone=pointmaetiny --dataset=shapes "
    "--methods=dapt,full,linear --seeds=0,1,2": (
        "--limit=40",
        "--epochs=1",
        "--batch_size=20",
        "--weights=random",
    ),
    "keras-pointpeft train --preset=dapt_pointmaetiny_shapes "
    "--dataset=folder --data=my_scans --output=runs/my_scans": (
        "--updates=4",
        "--noreport",
    ),
    "python scripts/convert_checkpoint.py --checkpoint=pretrain.pth "
    "--output=pointmae_shapenet": (),
    "python scripts/quickstart.py": ("--limit=40", "--epochs=1"),
}
NOT_RUN = {
    "keras-pointpeft train --preset=dapt_pointmaetiny_rooms *": "tests/scripts/"
    "test_segmentation.py runs it",
    "keras-pointpeft predict *": "tests/commands/test_path.py runs it",
    "keras-pointpeft evaluate *": "tests/commands/test_path.py runs it",
    "python scripts/compare.py --dataset=shapesparts *": SEGMENTED,
    "python scripts/compare.py --dataset=rooms *": SEGMENTED,
    "python scripts/few_shot.py *": SEGMENTED,
    "python scripts/measure_corruptions.py *": SEGMENTED,
    "python scripts/measure_methods.py *": "takes minutes; "
    "tests/experiments/test_method_costs.py measures two methods",
    "pip install *": "needs a package index; .ci/run runs it",
    "python -m mkdocs serve": "tests/docs/test_site.py builds the site",
    "python -m build": "tests/test_packaging.py builds the wheel",
    "cyclonedx-py *": "a tool of the workflow",
    "pip-licenses *": "a tool of the workflow",
    "bash scripts/test.sh": ITSELF,
    "bash scripts/test.sh jax": ITSELF,
    "python -m pytest *": ITSELF,
    "python scripts/train.py --preset=dapt_pointmae_scanobjectnn *": DATA,
    "python scripts/train.py --all_devices *": DATA,
    "python scripts/evaluate.py --preset=dapt_pointmae_scanobjectnn *": DATA,
    "torchrun *": DEVICES,
    "srun torchrun *": DEVICES,
    "head=*": DEVICES,
    "export *": DEVICES,
}


def commands():
    """(page, command) of all shell blocks, one line and no comment each."""
    found = []
    for page in pages.pages():
        for block in pages.blocks(page, "bash"):
            text = block.text.replace("\\\n", " ")
            for line in text.splitlines():
                line = " ".join(shlex.split(line, comments=True))
                for command in line.split(" && ") if line else ():
                    # Settings in front are not part of the command.
                    command = re.sub(r"^([A-Z_]+=\S+ )+", "", command)
                    found.append((page, command))
    return found


def mentions():
    """(where, command) of scripts in prose and in the scripts themselves."""
    found = []
    for page in pages.pages():
        for text in pages.inline_code(page):
            if re.match(r"(python )?scripts/\w+\.py --", text):
                if re.match(r"scripts/train.py (?!.*--preset)", text):
                    text += " --preset=dapt_pointmaetiny_shapes"  # implied
                found.append((page, text))
    for path in sorted((pages.ROOT / "scripts").glob("*.py")):
        lines = ast.get_docstring(ast.parse(path.read_text()))
        for line in lines.replace("\\\n", " ").splitlines():
            if re.match(r" +(python|torchrun) ", line):
                found.append((path.name, line.split("#")[0]))
    return found


def words_of(command):
    return shlex.split(re.sub(r"\[(.*)\]", r"\1", command))


def parse(command):
    """Has a script's own flags parse the command's arguments."""
    words = words_of(command)
    if words[0] == "keras-pointpeft":
        verb = importlib.import_module(f"keras_pointpeft.commands.{words[1]}")
        values = copy.deepcopy(verb.FLAGS)
        values(words[1:])
        return values.flag_values_dict()
    (place,) = [i for i, w in enumerate(words) if w.endswith(".py")]
    assert (pages.ROOT / words[place]).is_file(), command
    _, values = load_script(words[place])
    rest = values(words[place:])
    assert set(rest[1:]) <= {"DIR", "--fixtures"}, command
    return values.flag_values_dict()


@pytest.mark.parametrize("page", pages.pages())
def test_shell_blocks_are_shell(page):
    for block in pages.blocks(page, "bash"):
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


@pytest.mark.parametrize(
    "where, command",
    [
        pytest.param(*found, id=f"{found[0]}: {found[1]}")
        for found in commands() + mentions()
        if ("scripts/" in found[1] and ".py" in found[1])
        or found[1].startswith("keras-pointpeft ")
    ],
)
def test_flags_and_presets_exist(where, command):
    values = parse(command)
    preset = values.get("preset")
    if preset is not None:
        assert preset in keras_pointpeft.list_presets()


def test_wrong_flags_would_be_found():
    with pytest.raises(flags.UnrecognizedFlagError):
        parse("python scripts/train.py --presets=dapt_pointmaetiny_shapes")
    with pytest.raises(flags.IllegalFlagValueError):
        parse("python scripts/train.py --preset=x --selection=best")


def test_every_command_is_run_or_listed():
    found = {command for _, command in commands()}
    left = {
        command
        for command in found - set(RUN)
        if not any(fnmatch.fnmatchcase(command, p) for p in NOT_RUN)
    }
    assert not left
    assert set(RUN) <= found
    for pattern in NOT_RUN:
        assert fnmatch.filter(found, pattern), pattern


def test_every_python_block_has_a_test():
    tested = {"CONTRIBUTING.md": "tests/test_contributing.py"}
    for page in pages.pages():
        if page.startswith("docs/presets/"):
            continue  # all alike: tests/docs/test_presets.py
        if pages.blocks(page, "python", "json"):
            stem = page.rpartition("/")[2].removesuffix(".md").lower()
            default = f"tests/docs/test_{stem}.py"
            module = pages.ROOT / tested.get(page, default)
            assert module.is_file(), page
            assert page in module.read_text(), page
        for block in pages.blocks(page, "py"):
            compile(block.text, page, "exec")
        known = {"python", "py", "bash", "json", ""}
        assert {block.language for block in pages.blocks(page)} <= known


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_run(command, tmp_path, monkeypatch, run_script):
    if "my_scans" in command:
        write_scans(tmp_path)
    if "pretrain.pth" in command:
        backbone = keras_pointpeft.from_preset(
            "pointmae_shapenet", load_weights=False
        )
        path = tmp_path / "pretrain.pth"
        checkpoints.write_checkpoint(backbone, path, pretrained=True)
    if command.startswith("keras-pointpeft "):
        _, verb, *arguments = shlex.split(command)
        name = f"{verb}.py"
    else:
        _, script, *arguments = shlex.split(command)
        name = script.removeprefix("scripts/")
    run_script(name, *arguments, *RUN[command])
    written = {path.name for path in tmp_path.iterdir()}
    assert written & {"runs", "pointmae_shapenet"} or "quick" in command
