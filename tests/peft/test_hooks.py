"""The hooks: who uses which, and that they get what is true of their place."""

import pathlib
import re

import keras
import numpy as np
import pytest

from keras_pointpeft import peft
from keras_pointpeft.layers import ClassTokens
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.trunk import Stage

CONTRIBUTING = pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md"
SMALL = {
    "PointPEFT": {"prior": False, "num_prompts": 4, "prompt_blocks": 1},
    "GAPrompt": {"num_prompts": 4, "prompt_blocks": 1},
}


def methods():
    """Name to class of all methods."""
    found = {name: getattr(peft, name) for name in peft.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, peft.PeftMethod)
        if kind is not peft.PeftMethod
    }


def hooks_of(kind):
    own = {name: x for name, x in vars(kind).items() if callable(x)}
    return {name: x for name, x in own.items() if not name.startswith("_")}


def users(hook):
    """Names of the methods that override a hook."""
    found = []
    for name, kind in methods().items():
        tuner = kind().block_tuner(peft.Where(24, num_groups=8))
        for owner, user in (
            (peft.PeftMethod, kind),
            (peft.BlockTuner, type(tuner)),
        ):
            base = hooks_of(owner).get(hook)
            if base is not None and getattr(user, hook, base) is not base:
                found.append(name)
    return found


def table():
    """Hook to (what it is about, who uses it), as `CONTRIBUTING.md` says."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    start = text.index("### Where a method may act")
    rows = re.findall(
        r"^\| `(\w+)` \|.*\|([^|]*)\|$", text[start:], re.MULTILINE
    )
    return {hook: re.findall(r"\w+", named) for hook, named in rows}


@pytest.mark.once
def test_the_table_lists_all_hooks_and_their_users():
    expected = set(hooks_of(peft.BlockTuner))
    assert len(expected) == 7
    expected |= {x for x in hooks_of(peft.PeftMethod) if "_tuner" in x}
    assert table() == {hook: users(hook) for hook in expected}


def assemble(method, mlp_ratio):
    """A model of one stage, as a backbone would put it together."""
    points = keras.Input((64, 3))
    stage = Stage(
        PointPatches(8, 8, name="patches"),
        PositionMLP(24, name="position"),
        24,
        depth=2,
        encoder_dims=(8, 12, 16),
        front=[ClassTokens(24, name="class_tokens")],
    )
    parts = Assembly([stage], peft=method, mlp_ratio=mlp_ratio, num_heads=3)
    tokens = parts.normalized(parts.tokens(points))
    return keras.Model(points, parts.outputs(tokens))


@pytest.mark.once
@pytest.mark.parametrize("name", methods())
def test_a_method_knows_the_block_s_true_mlp_ratio(name, clouds):
    model = assemble(methods()[name](**SMALL.get(name, {})), mlp_ratio=1.5)
    block = model.get_layer("block_1")
    assert block.fc1.kernel.shape == (24, 36)
    assert getattr(block.tuner, "mlp_ratio", 1.5) == 1.5
    outputs = model(clouds[0])
    assert outputs["patch_tokens"].shape == (6, 8, 24)
    found = keras.ops.convert_to_numpy(outputs["class_tokens"])
    assert np.isfinite(found).all()


def test_a_tuner_gets_what_it_needs_and_nothing_else(clouds):
    seen = {}

    class Curious(peft.BlockTuner):
        needs = ("centers",)

        def enter(self, tokens, geometry, training):
            seen.update(geometry)
            return tokens

    class Method(peft.PeftMethod):
        def geometry_tuner(self, where):
            return peft.PointGST(local=4).geometry_tuner(where)

        def block_tuner(self, where):
            return Curious(**where.layer)

    assemble(Method(), 4.0)(clouds[0])
    assert list(seen) == ["centers"]
    Curious.needs = ("nothing",)
    with pytest.raises(ValueError, match="needs to know .'nothing'.*Received"):
        assemble(Method(), 4.0)
