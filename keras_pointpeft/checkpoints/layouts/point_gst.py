"""Names of PointGST's published versions of Point-MAE and PointGPT."""

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

ADAPTER = {
    "down": "down",
    "up": "up",
    "norm": "norm_ly1",
    "local_norm": "norm_ly2",
    "spectral": "adapt1",
}


def layout(model):
    backbone = getattr(model, "backbone", model)
    causal = type(backbone).__name__ == "PointGPTBackbone"
    blocks = "blocks.layers" if causal else "blocks.blocks"
    return Layout(
        NameMap(
            {
                f"block_{{i}}/tuner/adapter/{ours}": (
                    f"{blocks}.{{i}}.gft_adapter.{theirs}"
                )
                for ours, theirs in ADAPTER.items()
            }
        )
    )


# What its authors call ReCon is ReCon's weights in Point-MAE's blocks.
register_method(
    "PointGST",
    "PointGST",
    layout,
    r"\.gft_adapter\.",
    mode={"reference": True},
    trunks={"ReConBackbone": "PointMAEBackbone"},
)
