"""Names of Point-PEFT's published version of Point-MAE."""

import numpy as np

from keras_pointpeft.checkpoints import point_mae
from keras_pointpeft.checkpoints.names import NameMap
from keras_pointpeft.checkpoints.transfer import fill
from keras_pointpeft.peft.prior_bank import PriorBank
from keras_pointpeft.peft.prior_bank import fingerprint

_BLOCK = r"blocks.blocks.\1"
_TUNER = r"block_(\d+)/tuner"

# What the method adds.
_MODULES = {
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
_PARAMETERS = {
    rf"{_TUNER}/prompt/embeddings": f"{_BLOCK}.prompt_embeddings",
    rf"{_TUNER}/gate": f"{_BLOCK}.ad_gate",
    r"tuner_geometry/prompt_coordinates": "prompt_cor",
}
# Our differences, and the published parameters that they change.
_DIFFERENCES = {
    rf"{_TUNER}/(norm1|norm2)_bias": _BLOCK + r".\2.bias",
    rf"{_TUNER}/proj_bias": f"{_BLOCK}.attn.proj.bias",
    rf"{_TUNER}/(fc1|fc2)_bias": _BLOCK + r".mlp.\2.bias",
    r"tuner_norm/gamma": "norm.weight",
    r"tuner_norm/beta": "norm.bias",
}
DIFFERENCE = "difference to "

# By these names a checkpoint is read ...
POINT_PEFT = point_mae.POINT_MAE | NameMap(
    _MODULES,
    _PARAMETERS | {k: DIFFERENCE + v for k, v in _DIFFERENCES.items()},
)
# ... and by these their parameters and ours are compared.
TRAINED = POINT_PEFT | NameMap({}, _DIFFERENCES)
BANK = {r"tuner_prior/": "state, not a parameter: attach a bank"}


def fill_point_peft(model, state, pretrained=None, bank=None):
    """Fills a tuned Point-MAE from Point-PEFT's published checkpoints.

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

    Returns:
        A `keras_pointpeft.checkpoints.transfer.TransferReport`.
    """
    targets = {
        names[len(DIFFERENCE) :]
        for names in map(POINT_PEFT, (v.path for v in model.weights))
        if names is not None and names.startswith(DIFFERENCE)
    }
    state = dict(state)
    for name in targets:
        before = state[name] if pretrained is None else pretrained[name]
        after = np.asarray(state[name])
        state[DIFFERENCE + name] = after - np.asarray(before)
        state[name] = before
    report = fill(model, state, POINT_PEFT, initial=BANK)
    if bank is not None:
        features = np.ascontiguousarray(np.asarray(bank, "float32").T)
        recipe = {"source": "published", "entries": len(features)}
        PriorBank(features, fingerprint(model.backbone), recipe).attach(model)
    return report
