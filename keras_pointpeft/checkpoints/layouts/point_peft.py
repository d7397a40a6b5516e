"""Names of Point-PEFT's published version of Point-MAE."""

import numpy as np

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap
from keras_pointpeft.checkpoints.transfer import fill
from keras_pointpeft.peft.point_peft.bank import PriorBank
from keras_pointpeft.peft.point_peft.bank import fingerprint

_BLOCK = r"blocks.blocks.\1"
_TUNER = r"block_(\d+)/tuner"

# What the method adds.
MODULES = {
    rf"{_TUNER}/prompt/adapter/down": f"{_BLOCK}.cp_adapter.ln1",
    rf"{_TUNER}/prompt/adapter/up": f"{_BLOCK}.cp_adapter.ln2",
    rf"{_TUNER}/mlp_adapter/down": f"{_BLOCK}.adapter.ln1",
    rf"{_TUNER}/mlp_adapter/up": f"{_BLOCK}.adapter.ln2",
    rf"{_TUNER}/block_adapter/down": f"{_BLOCK}.adapter1.ln1",
    rf"{_TUNER}/block_adapter/up": f"{_BLOCK}.adapter1.ln2",
    rf"{_TUNER}/geometry/norm": f"{_BLOCK}.out_transform.0",
    r"tuner_geometry/attention/norm": "blocks.norm3",
    r"tuner_geometry/attention/(qkv|proj)": r"blocks.attn1.\1",
}
PARAMETERS = {
    rf"{_TUNER}/prompt/embeddings": f"{_BLOCK}.prompt_embeddings",
    rf"{_TUNER}/gate": f"{_BLOCK}.ad_gate",
    rf"{_TUNER}/attention_gate": f"{_BLOCK}.attn.gate",
    r"tuner_geometry/prompt_coordinates": "prompt_cor",
}
# Our differences, and the published parameters that they change.
DIFFERENCES = {
    rf"{_TUNER}/(norm1|norm2)_bias": _BLOCK + r".\2.bias",
    rf"{_TUNER}/proj_bias": f"{_BLOCK}.attn.proj.bias",
    rf"{_TUNER}/(fc1|fc2)_bias": _BLOCK + r".mlp.\2.bias",
    r"tuner_norm/gamma": "norm.weight",
    r"tuner_norm/beta": "norm.bias",
}
DIFFERENCE = "difference to "


def both_names(base, modules, parameters, differences):
    """Names to read a checkpoint by, and names to compare parameters by."""
    read = base | NameMap(
        modules,
        parameters | {k: DIFFERENCE + v for k, v in differences.items()},
    )
    return read, read | NameMap({}, differences)


POINT_PEFT, TRAINED = both_names(
    point_mae.POINT_MAE, MODULES, PARAMETERS, DIFFERENCES
)
BANK = {r"tuner_prior/": "state, not a parameter: attach a bank"}


def fill_point_peft(model, state, pretrained=None, bank=None, names=POINT_PEFT):
    """Fills a tuned backbone from Point-PEFT's published checkpoints.

    Ours keeps the pre-trained biases and trains differences to them, the
    published code overwrites them. With the pre-trained checkpoint at hand
    both are restored. Without it, the frozen biases become the tuned ones and
    the differences 0: logits are the same, but queries of the bank, which
    the frozen weights make, are not.

    Args:
        model: a classifier built with `PointPEFT(reference=True)`.
        state: dict from name to array, the fine-tuned checkpoint.
        pretrained: optional dict, the pre-trained checkpoint, by the same
            names.
        bank: optional array `(dim, entries)`, the published bank.
        names: the `NameMap` to read by; that of Point-MAE by default.

    Returns:
        A `keras_pointpeft.checkpoints.transfer.TransferReport`.
    """
    targets = {
        name[len(DIFFERENCE) :]
        for name in map(names, (v.path for v in model.weights))
        if name is not None and name.startswith(DIFFERENCE)
    }
    state = dict(state)
    for name in targets:
        before = state[name] if pretrained is None else pretrained[name]
        after = np.asarray(state[name])
        state[DIFFERENCE + name] = after - np.asarray(before)
        state[name] = before
    report = fill(model, state, names, initial=BANK)
    if bank is not None:
        features = np.ascontiguousarray(np.asarray(bank, "float32").T)
        recipe = {"source": "published", "entries": len(features)}
        PriorBank(features, fingerprint(model.backbone), recipe).attach(model)
    return report
