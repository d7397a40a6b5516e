"""Names of PPT's published version of Point-MAE."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap


def shared_mlps(names):
    """Two-layer MLPs that all blocks share: ours to theirs."""
    return {
        rf"tuner_sequence/{ours}/{part}": f"blocks.{theirs}.{index}"
        for ours, theirs in names.items()
        for part, index in (("down", 0), ("up", 2))
    }


PPT = point_mae.POINT_MAE | NameMap(
    shared_mlps(
        {
            "patch_mlp": "prompt_mlp",
            "prompt_mlp": "prompt_pos_mlp",
            "block_mlp": "prompt_all_mlp",
        }
    ),
    {},
)
