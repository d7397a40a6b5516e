"""Names of PPT's published version of Point-MAE."""

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap


def shared_mlps(names):
    """Two-layer MLPs that all blocks share: ours to theirs."""
    return {
        f"tuner_sequence/{ours}/{part}": f"blocks.{theirs}.{index}"
        for ours, theirs in names.items()
        for part, index in (("down", 0), ("up", 2))
    }


PPT = Layout(
    NameMap(
        shared_mlps(
            {
                "patch_mlp": "prompt_mlp",
                "prompt_mlp": "prompt_pos_mlp",
                "block_mlp": "prompt_all_mlp",
            }
        )
    )
)
register_method(
    "PPT",
    "PPT",
    PPT,
    r"prompt_all_mlp",
    mode={"reference": True},
    trunks={"ReConBackbone": "PointMAEBackbone"},
)
