import json
import pathlib
import re

import numpy as np
import pytest
from keras import ops

from keras_pointpeft import checkpoints
from keras_pointpeft.checkpoints import CheckpointMismatch
from keras_pointpeft.checkpoints.loading import infer
from keras_pointpeft.peft.method import weights_of
from tests.checkpoints import published

pytestmark = pytest.mark.once

LAYOUTS = pathlib.Path(__file__).parents[1] / "golden" / "ckpt_layouts"
BACKBONES = {
    "act_pretrain": "ACTBackbone",
    "pcpmae_pretrain": "PCPMAEBackbone",
    "pointbert_pretrain": "PointBERTBackbone",
    "pointgpt_postpretrain_b": "PointGPTBackbone",
    "pointgpt_postpretrain_l": "PointGPTBackbone",
    "pointgpt_pretrain_b": "PointGPTBackbone",
    "pointgpt_pretrain_l": "PointGPTBackbone",
    "pointgpt_pretrain_s": "PointGPTBackbone",
    "pointmae_pretrain_into_idpt": "PointMAEBackbone",
    "pointmae_pretrain_into_vptdeep": "PointMAEBackbone",
    "recon_pretrain_base": "ReConBackbone",
    "recon_pretrain_small": "ReConBackbone",
    "recon_pretrain_tiny": "ReConBackbone",
}
LARGE = ("_b", "_l")


def layout(name):
    return json.loads((LAYOUTS / f"{name}.json").read_text())


def shallow(entries):
    """A published layout's entries, with the first block of each stack."""
    return [
        (name, shape, dtype)
        for name, shape, dtype in entries
        if not re.search(r"\.(blocks|layers)\.[1-9]\d*\.", name)
    ]


def zeros(entries):
    return {n: np.zeros(s, d) for n, s, d in entries}


def test_every_layout_is_covered():
    assert {path.stem for path in LAYOUTS.glob("*.json")} == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_infers_the_published_model(name):
    # Without memory: an array of zeros takes none until it is written.
    state = zeros(layout(name)["base_model"])
    kind, arguments, num_classes = infer(state)
    assert kind == BACKBONES[name]
    assert num_classes == (87 if "postpretrain" in name else None)
    depth = 24 if name.endswith("_l") else 12
    assert arguments["depth"] == depth
    dims = {"_b": 768, "_l": 1024, "small": 256, "tiny": 192}
    expected = [d for end, d in dims.items() if name.endswith(end)]
    assert arguments["dim"] == (expected or [384])[0]
    if kind == "PointGPTBackbone":
        assert arguments["generator_depth"] == 4


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name[-2:] in LARGE else ())
        for name in BACKBONES
    ],
)
def test_accounts_for_every_tensor(name):
    recorded = layout(name)
    state = zeros(shallow(recorded["base_model"]))
    model, report = checkpoints.build(state)
    assert set(report.used) | set(report.unused) == set(state)
    assert not set(report.used) & set(report.unused)
    filled = set(report.used.values()) | set(report.kept)
    assert filled == set(weights_of(model))

    # What was read can be written for published code to load.
    source, _ = checkpoints.identify(state)
    written = checkpoints.published_state(model, source.pretrained)
    for found in report.used:
        assert written[found].shape == state[found].shape, found
        assert np.array_equal(written[found], state[found]), found

    # Exactly what the published loader takes, but for what nobody reads.
    theirs = {old for old, _ in recorded["finetune_loaded"] if old in state}
    theirs |= {n for n in report.used if "cls_head_finetune" in n}
    unread = {n for n in theirs if n not in report.used}
    assert set(report.used) <= theirs
    reasons = {report.unused[n] for n in unread}
    allowed = {
        "counter",
        "no published classifier reads it",
        "the published generator does not read it",
    }
    assert reasons <= allowed


@pytest.mark.parametrize("kind", published.KINDS)
@pytest.mark.parametrize("pretrained", [False, True])
def test_reads_what_it_writes(kind, pretrained):
    tuned = ("dapt", "gft", "most", "side", "stag")
    if pretrained and kind.startswith(tuned):
        pytest.skip("a pre-trained file holds no method")
    model = published.shuffled(published.KINDS[kind]())
    target = model.backbone if pretrained else model
    state = checkpoints.published_state(target, pretrained)
    other = published.KINDS[kind]()
    other = other.backbone if pretrained else other
    report = checkpoints.load_into(other, state)
    theirs = weights_of(other)
    for path, variable in weights_of(target).items():
        if path in report.kept:
            continue
        assert np.array_equal(
            ops.convert_to_numpy(variable), ops.convert_to_numpy(theirs[path])
        ), path


def test_leaves_out_the_head_for_a_backbone():
    state = published.state_of("pointmae")
    report = checkpoints.load_into(
        published.backbone("PointMAEBackbone"), state
    )
    left_out = {n for n in report.unused if "cls_head_finetune" in n}
    assert left_out == {n for n in state if "cls_head_finetune" in n}


def test_takes_off_the_prefix_of_wrapped_models():
    state = published.state_of("pointbert")
    wrapped = {f"base_model.{name}": v for name, v in state.items()}
    checkpoints.load_into(published.KINDS["pointbert"](), wrapped)


@pytest.mark.parametrize(
    "kind, other",
    [
        ("recon", "PointMAEBackbone"),
        ("pointgpt", "ReConBackbone"),
        ("pointmae", "PointGPTBackbone"),
        ("pointbert", "ReConBackbone"),
        ("pointmae", "PCPMAEBackbone"),
        ("pcpmae", "PointMAEBackbone"),
    ],
)
@pytest.mark.parametrize("pretrained", [False, True])
def test_says_which_backbone_a_file_looks_like(kind, other, pretrained):
    model = published.shuffled(published.KINDS[kind]())
    expected = type(model.backbone).__name__
    target = model.backbone if pretrained else model
    state = checkpoints.published_state(target, pretrained)
    with pytest.raises(CheckpointMismatch, match=f"looks like.*{expected}"):
        checkpoints.load_into(published.backbone(other), state)


def test_says_which_method_tuned_a_file():
    state = published.state_of("dapt_pointmae")
    with pytest.raises(CheckpointMismatch, match="tuned with DAPT"):
        checkpoints.load_into(published.KINDS["pointmae"](), state)
    with pytest.raises(CheckpointMismatch, match="tuned with DAPT"):
        checkpoints.build(state)


def test_names_what_two_mixed_files_have_too_much():
    state = published.state_of("pointmae") | published.state_of("act", True)
    with pytest.raises(CheckpointMismatch, match="unexpected"):
        checkpoints.load_into(published.KINDS["pointmae"](), state)


def test_unknown_files_are_refused():
    with pytest.raises(CheckpointMismatch, match="known kind.*layer1"):
        checkpoints.identify({"layer1.weight": np.zeros(3)})
