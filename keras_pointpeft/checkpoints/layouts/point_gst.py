"""Names of PointGST's published versions of Point-MAE and PointGPT."""

from keras_pointpeft.checkpoints.names import NameMap


def _adapters(blocks):
    names = {
        "down": "down",
        "up": "up",
        "norm": "norm_ly1",
        "local_norm": "norm_ly2",
        "spectral": "adapt1",
    }
    return NameMap(
        {
            rf"block_(\d+)/tuner/adapter/{ours}": (
                rf"{blocks}.\1.gft_adapter.{theirs}"
            )
            for ours, theirs in names.items()
        },
        {},
    )


ON_POINT_MAE = _adapters("blocks.blocks")
ON_POINT_GPT = _adapters("blocks.layers")
