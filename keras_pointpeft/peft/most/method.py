"""MoST: Monarch sparse tuning.

[Han et al., CVPR 2025](https://arxiv.org/abs/2503.18368).
"""

from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.most.block import MoSTTuner
from keras_pointpeft.peft.most.fusion import BlockFusion
from keras_pointpeft.peft.most.fusion import fused_blocks
from keras_pointpeft.peft.most.neighbor_graph import NeighborGraph
from keras_pointpeft.serialization import serializable
from keras_pointpeft.serialization import whole_number


@serializable
class MoST(PeftMethod):
    """Structured sparse updates beside the attention of a frozen backbone.

    [MoST](https://arxiv.org/abs/2503.18368) adds a branch to the attention of
    every block: a `MonarchLinear` between two steps that add to each patch
    token how it differs from its neighbours and what the attention found. The
    head reads, with the patch tokens, what a few blocks spread over the depth
    have found of the cloud. These, class token and head train; the blocks of
    PointGPT's generation branch have such a branch too. Its code was
    published for PointGPT alone: what it does in other backbones is the same
    beside their attention, on their own patches, and ours.

    As released, both factors of the Monarch matrix start at zero. Then neither
    ever gets a gradient, and of the branch one bias trains. What the attention
    found is averaged over the batch, in inference too, so that the logits of
    a cloud depend on the clouds beside it. In the generation branch, the
    tokens are one place off the graph. `reference=True` reproduces the three.
    By default one factor starts as linear layers do and one at zero, so that
    both train, and a cloud is its own batch, on which the released code gives
    the same; the generation branch has the graph of the tokens it reads; and
    the branch starts at zero, see `neutral_start`.

    The branch cannot be merged: it depends on the neighbours.

    Args:
        monarch_blocks: int. Blocks of the Monarch matrices' factors. With 8
            they have a quarter of the parameters of a dense kernel.
        num_neighbors: int. How many neighbours a patch has.
        fusions: int. How many blocks the head of a classifier reads beside
            the last tokens; 0 for none, as suits segmentation.
        reference: bool. Whether to start and to compute as released, whatever
            `neutral_start` says.
        neutral_start: bool. Whether what the attention found enters before
            the Monarch matrix alone. The released code adds it behind the
            matrix too, so that training starts not from the function that was
            pre-trained, but from one with twice its attention and more.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: if a number is no positive integer (`fusions` may be 0),
            or `frozen_bn` is unknown.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointGPTBackbone(
        num_groups=128, peft=keras_pointpeft.peft.MoST(monarch_blocks=8)
    )
    ```
    """

    trained = WITH_CLASS_TOKEN
    components = {
        "fusion": r"(^|/)tuner_fusion/",
        "Monarch branches": ADDED,
        "class token": CLASS_TOKEN,
    }

    def __init__(
        self,
        monarch_blocks=8,
        num_neighbors=4,
        fusions=3,
        reference=False,
        neutral_start=True,
        frozen_bn="inference",
    ):
        self.monarch_blocks = check_positive("monarch_blocks", monarch_blocks)
        self.num_neighbors = check_positive("num_neighbors", num_neighbors)
        self.fusions = whole_number("fusions", fusions)
        self.reference = reference
        self.neutral_start = neutral_start
        super().__init__(frozen_bn)

    def geometry_tuner(self, where):
        return NeighborGraph(
            self.num_neighbors, where.generates, self.reference, **where.layer
        )

    def block_tuner(self, where):
        return self._tuner("graph", where)

    def generator_tuner(self, where):
        return self._tuner("graph_before", where)

    def _tuner(self, graph, where):
        return MoSTTuner(
            self.monarch_blocks,
            graph,
            self.reference,
            self.neutral_start and not self.reference,
            **where.layer,
        )

    def fusion_tuner(self, where):
        if not self.fusions:
            return None
        chosen = fused_blocks(where.blocks, self.fusions)
        return BlockFusion(chosen, **where.layer)
