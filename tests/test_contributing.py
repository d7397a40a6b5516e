"""The examples of CONTRIBUTING.md, run as they stand, outside the package."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)

# What a user would try next, behind `use.py`.
MORE = """
import json

from keras_pointpeft import presets

names = presets.list_presets()
print("methods of the toy", sum(n.endswith("_toy_shapes") for n in names))
print("mix on others", sum(n.startswith("mix_") for n in names))

# Its weights come back from the converted directory, bit by bit, and in the
# tuned model nothing of them has moved.
converted = keras_pointpeft.from_preset("./toy_shapes")
tuned = {v.path: v.numpy() for v in model.backbone.weights}
for mine, theirs in zip(backbone.weights, converted.weights, strict=True):
    assert mine.path == theirs.path
    assert np.array_equal(mine.numpy(), theirs.numpy()), mine.path
    assert np.array_equal(mine.numpy(), tuned.pop(mine.path)), mine.path
parts = ("adapter/bias", "adapter/kernel", "prompt")
added = [f"block_1/tuner/{part}" for part in parts]
assert sorted(tuned) == added, tuned
assert np.any(tuned["block_1/tuner/adapter/kernel"] != 0.0)

# Built-in methods work on the toy, and the toy's on built-in backbones.
for name in ("dapt_toy_shapes", "mix_pointmaetiny_shapes"):
    other = keras_pointpeft.from_preset(
        name, load_weights=False, num_classes=2, num_groups=8
    )
    other.fit(points, labels, verbose=0)

# The toy's file is told apart from others.
plain = keras_pointpeft.from_preset("pointmaetiny_shapes", load_weights=False)
try:
    checkpoints.load_into(plain, "toy.pth")
except checkpoints.CheckpointMismatch as error:
    print(error)

# A folder of cards with a slip adds nothing.
card = json.load(open("cards/methods/mix.json"))
os.makedirs("slips/methods")
json.dump({**card, "titel": 1}, open("slips/methods/more.json", "w"))
try:
    presets.add_cards("slips")
except ValueError as error:
    print(error)
assert presets.list_presets() == names
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = FILE.findall(text)
    assert len(found) == 5
    for name, content in found:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    program = (folder / "use.py").read_text(encoding="utf-8")
    (folder / "more.py").write_text("import os\n" + program + MORE)
    process = subprocess.run(
        [sys.executable, "more.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}."},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_new_cards_multiply(output):
    (methods,) = re.findall(r"methods of the toy (\d+)", output)
    (others,) = re.findall(r"mix on others (\d+)", output)
    # Three methods at least beside the new one; tiny and full-size models.
    assert int(methods) >= 4
    assert int(others) > 20
    assert "'mix_toy_shapes'" in output
    assert "'mix_pointgptl_scanobjectnn'" in output


def test_adapter_comes_back(output):
    (difference,) = re.findall(r"^difference (\S+)$", output, re.MULTILINE)
    assert float(difference) < 1e-6


def test_a_file_of_the_new_backbone_is_recognised(output):
    assert "looks like Toy, pre-trained, for a ToyBackbone" in output


def test_a_bad_card_is_named(output):
    assert "methods/more.json" in output and "titel" in output
