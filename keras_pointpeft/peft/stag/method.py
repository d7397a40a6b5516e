"""STAG: side token adaptation on a neighbourhood graph.

[2025](https://arxiv.org/abs/2502.14142).
"""

from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.stag.beside_block import AsBeforeNorm
from keras_pointpeft.peft.stag.beside_block import Displacement
from keras_pointpeft.peft.stag.beside_block import SideStep
from keras_pointpeft.peft.stag.beside_block import TokenSum
from keras_pointpeft.peft.stag.side_graph import SideGraph
from keras_pointpeft.serialization import serializable


@serializable
class STAG(PeftMethod):
    """A graph network beside a frozen backbone.

    [STAG](https://arxiv.org/abs/2502.14142): a narrow state per patch adds up
    what linear layers read of the tokens before every block. From block
    `start` on it moves along the edges to the nearest patches, and a
    displacement made of it is added to the tokens behind each block. Nothing
    that trains acts on the tokens before, so that the patch encoder and half
    of the blocks need no gradient: a training step is the cheapest of all
    methods that change a backbone's features.

    The head reads the mean of all tokens, without the final norm. The class
    token does not train, as it would need a gradient through all blocks; where
    a backbone's file has none, it stays as it was drawn, and the adapter keeps
    it. In a hierarchical backbone the side network stands beside the last
    stage.

    The defaults are those of the published STAG-std; STAG-sl is
    `STAG(start=0.25, share=3)`.

    Args:
        rank: int. Width of the side network's state.
        start: float, 0 to below 1. Behind which share of the blocks the
            network begins to displace tokens; rounded down.
        share: optional int. So many neighbouring blocks have the layers of
            the side network in common; None for all blocks.
        num_neighbors: int. How many nearest patches are joined with one,
            itself included.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.STAG()
    )
    ```
    """

    state = (CLASS_TOKEN,)
    components = {"side network": ADDED}
    pooling = {
        "class_token": "with_patches",
        "prompt_token": None,
        "patch_token": "mean",
    }

    def __init__(
        self,
        rank=192,
        start=0.5,
        share=None,
        num_neighbors=8,
        frozen_bn="inference",
    ):
        if not 0.0 <= start < 1.0:
            raise ValueError(
                "`start` is a share of the blocks, at least 0 and less than "
                f"1. Received: start={start!r}"
            )
        self.rank = check_positive("rank", rank)
        self.start = start
        self.share = None if share is None else check_positive("share", share)
        self.num_neighbors = check_positive("num_neighbors", num_neighbors)
        super().__init__(frozen_bn)

    def _first(self, where):
        """The first block that is displaced, counted within its stage."""
        return int(self.start * len(where.blocks))

    def geometry_tuner(self, where):
        if not where.is_last_stage:
            return None
        return SideGraph(
            where.dim,
            self.rank,
            self.num_neighbors,
            self._first(where),
            len(where.blocks),
            self.share,
            **where.layer,
        )

    def token_tuner(self, where):
        if not where.is_last_stage:
            return None
        block, count = where.index - where.blocks.start, where.num_class_tokens
        if block >= self._first(where):
            return SideStep(block, count, where.shared, **where.layer)
        reader = where.shared.reader_of(block)
        first = block == 0 or where.shared.reader_of(block - 1) != reader
        return TokenSum(reader, count, first, **where.layer)

    def block_tuner(self, where):
        first = where.blocks.start + self._first(where)
        if not where.is_last_stage or where.index < first:
            return None
        return Displacement(where.num_class_tokens, **where.layer)

    def norm_tuner(self, where):
        return AsBeforeNorm(**where.layer)
