"""Files laid out as the entries of `weights.json` are, in small sizes.

What a published file has is taken from recordings of the published code: the
names and shapes of a state dict, here with fewer blocks, and with the sizes
that the entry's own configuration changes.
"""

import dataclasses
import functools
import json
import pathlib
import re

import numpy as np

from keras_pointpeft import presets
from keras_pointpeft.verification import weights as known_numbers

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
TINY = {"dim": 96, "depth": 1, "num_groups": 32, "group_size": 16}
SEGMENTER = {"depth": 3, "blocks": (0, 1, 2), "num_groups": 32}
# The widths of large models, and what is left of them.
WIDE = {256, 512, 768, 1024, 1536, 2048, 2304, 3072, 4096}


@dataclasses.dataclass
class Release:
    """How an entry's file is laid out.

    Attributes:
        case: string, the recording.
        arguments: dict of `from_preset`, its sizes.
        resized: dict from a regular expression on names to the shape that the
            entry's configuration has in place of the recorded one.
        narrow: int. By how much wide axes are divided.
    """

    case: str
    arguments: dict
    resized: dict = dataclasses.field(default_factory=dict)
    narrow: int = 1


PRETRAINED = {
    "act_shapenet": "act_pretrain",
    "pcpmae_shapenet": "pcpmae_pretrain",
    "pointbert_shapenet": "pointbert_pretrain",
    "pointgptb_hybrid": "pointgpt_postpretrain_b",
    "pointgptl_hybrid": "pointgpt_postpretrain_l",
    "pointgpts_shapenet": "pointgpt_pretrain_s",
    "pointmae_shapenet": "pointmae_pretrain_into_idpt",
    "recon_shapenet": "recon_pretrain_base",
}
NARROW = {
    "pointgptb_hybrid": {"dim": 96, "num_heads": 12},
    "pointgptl_hybrid": {"dim": 128, "num_heads": 16},
}
GPT = {**TINY, "dim": 384, "encoder_dims": (128, 256, 512)}
FINE_TUNED = {
    "dapt_pointmae": ("dapt_pointmae_tiny", TINY),
    "full_act": ("act_finetune_tiny", {**TINY, "token_dim": 64}),
    "full_pcpmae": ("pcpmae_finetune_tiny", TINY),
    "full_pointbert": ("pointbert_finetune_tiny", {**TINY, "token_dim": 64}),
    "full_pointgpts": (
        "pointgpt_finetune_tiny",
        {**GPT, "generator_depth": 1},
    ),
    "full_pointmae": ("pointmae_finetune_tiny", TINY),
    "full_recon": ("recon_finetune_tiny", TINY),
    "gaprompt_pointmae": (
        "gaprompt_pointmae_tiny",
        {**TINY, "num_groups": 64, "group_size": 32},
    ),
    "gaprompt_recon": (
        "gaprompt_pointmae_tiny",
        {**TINY, "num_groups": 64, "group_size": 32},
    ),
    "idpt_pointmae": ("idpt_pointmae_tiny", TINY),
    "pointgst_act": ("pointgst_pointmae_tiny", TINY),
    "pointgst_pointgptl": (
        "pointgst_pointgpt_tiny",
        {**GPT, "num_heads": 6},
    ),
    "pointgst_pointmae": ("pointgst_pointmae_tiny", TINY),
    # Its authors put ReCon's weights into Point-MAE's blocks.
    "pointgst_recon": ("pointgst_pointmae_tiny", TINY),
    "ppt_pointmae": ("ppt_pointmae_tiny", TINY),
}
SEGMENTATION = {
    "full_act_s3dis": "act_semseg_s3dis_full",
    "full_pointgpts_shapenetpart": "pointgpt_s_partseg_full",
    "full_pointmae_shapenetpart": "pointmae_partseg_small",
    "full_recon_shapenetpart": "recon_partseg_full",
}
# Tokens that the head reads side by side, where not as recorded.
HEAD_PARTS = {
    "dapt_pointmae_modelnet40": 2,
    "dapt_pointmae_scanobjectnn_objonly": 2,
    "idpt_pointmae_scanobjectnn_objbg": 1,
}
# The block in front of which the prompt joins needs those before it.
DEPTHS = {"idpt_pointmae_scanobjectnn_objonly": 8}


def release_of(name):
    """The `Release` of an entry of `weights.json`."""
    if name in PRETRAINED:
        arguments = {"depth": 1, **NARROW.get(name, {})}
        if name in NARROW:
            arguments["encoder_dims"] = (32, 64, 128, 256)
        narrow = 8 if name in NARROW else 1
        return Release(PRETRAINED[name], arguments, narrow=narrow)
    if name in SEGMENTATION:
        return Release(SEGMENTATION[name], SEGMENTER)
    preset = presets.resolve(name)
    case, arguments = FINE_TUNED[f"{preset.method}_{preset.backbone}"]
    arguments = {**arguments, "depth": DEPTHS.get(name, 1)}
    return Release(case, arguments, _resized(preset, arguments))


def _resized(preset, arguments):
    classes, dim = preset.task_config["num_classes"], arguments["dim"]
    last = 3 if preset.backbone == "pointbert" else 8
    head = r"cls_head_finetune\."
    resized = {
        rf"{head}{last}\.weight$": (classes, 256),
        rf"{head}{last}\.bias$": (classes,),
    }
    if preset.name in HEAD_PARTS:
        inputs = HEAD_PARTS[preset.name] * dim
        resized[rf"{head}0\.weight$"] = (256, inputs)
    config = preset.method_config
    if preset.method == "dapt":
        rank = config["rank"]
        resized |= {
            r"down_proj\.weight$": (rank, dim),
            r"down_proj\.bias$": (rank,),
            r"up_proj\.weight$": (dim, rank),
        }
    if preset.method == "pointgst":
        rank = config["rank"]
        resized |= {
            r"gft_adapter\.norm_ly\d\.": (rank,),
            r"gft_adapter\.down\.weight$": (rank, dim),
            r"gft_adapter\.down\.bias$": (rank,),
            r"gft_adapter\.up\.weight$": (dim, rank),
            r"gft_adapter\.adapt1\.weight$": (rank, rank),
            r"gft_adapter\.adapt1\.bias$": (rank,),
        }
    if preset.method == "gaprompt":
        resized[r"^point_prompt\.points$"] = (1, config["num_points"], 3)
    return resized


@functools.cache
def recording(case):
    """A recorded state dict: entries, salt, kinds, and second names."""
    path = GOLDEN / "ckpt_layouts" / f"{case}.json"
    if path.exists():
        return json.loads(path.read_text())["base_model"], "", {}, {}
    path = GOLDEN / "releases" / f"{case}.json"
    if not path.exists():
        path = GOLDEN / case / "manifest.json"
    found = json.loads(path.read_text())
    record = found.get("weights", found)
    return (
        found["state_dict"],
        record.get("salt") or "",
        record.get("kind_overrides", {}),
        found.get("aliases", {}),
    )


def config_of(case):
    """The published configuration of a recorded case."""
    return json.loads((GOLDEN / case / "manifest.json").read_text())["config"]


def state_of(case, depth=None, resized=(), narrow=1):
    """A file's tensors: known numbers under the recorded names.

    Args:
        case: string, see `recording`.
        depth: optional int. Blocks, which are all like the first.
        resized: see `Release`.
        narrow: see `Release`.
    """
    entries, salt, kinds, aliases = recording(case)
    if depth is not None:
        entries = _of_depth(entries, depth)
    state = {}
    for name, shape, dtype in entries:
        shape = tuple(shape)
        for pattern, other in dict(resized).items():
            if re.search(pattern, name):
                shape = other
        if narrow > 1 and "cls_head" not in name:
            shape = tuple(d // narrow if d in WIDE else d for d in shape)
        value = known_numbers.fill(name, shape, kinds.get(name), salt)
        state[name] = value.astype(dtype)
    for name, first in aliases.items():
        state[name] = state[first]
    return state


def _of_depth(entries, depth):
    """The entries with so many copies of the first block of each stack."""
    found = []
    for name, shape, dtype in entries:
        match = re.search(r"\.(?:blocks|layers)\.(\d+)\.(?=[A-Za-z])", name)
        # IDPT's prompt may be made by a block of its own.
        if match is None or ".cls.blocks." in name:
            found.append((name, shape, dtype))
        elif match[1] == "0":
            start, end = match.span(1)
            found += [
                (f"{name[:start]}{i}{name[end:]}", shape, dtype)
                for i in range(depth)
            ]
    return found


def file_of(name):
    """An entry's `Release` and its file's tensors, as numpy arrays."""
    release = release_of(name)
    depth = release.arguments.get("depth")
    state = state_of(release.case, depth, release.resized, release.narrow)
    return release, state


def clouds_of(case):
    """What was recorded: a dict of `points`, `logits` and others."""
    path = GOLDEN / "releases" / f"{case}.npz"
    if not path.exists():
        path = GOLDEN / case / "data.npz"
    with np.load(path) as data:
        return {name: data[name] for name in data.files}
