"""GFT: graph features of the input tokens, brought into later blocks.

[WACV 2026](https://arxiv.org/abs/2511.10799).
"""

from keras_pointpeft.peft.gft.cross_attention import GraphTuner
from keras_pointpeft.peft.gft.graph_feature import GraphFeature
from keras_pointpeft.peft.gft.prompts import InputPrompts
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import FIRST_LAYERS
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.serialization import positive_integers
from keras_pointpeft.serialization import serializable


@serializable
class GFT(PeftMethod):
    """Graph features of the tokens, which later blocks look at.

    [Graph Features Tuning](https://arxiv.org/abs/2511.10799): prompts join
    the tokens in front of the first block and stay. Of the sequence as it is
    there, without positions, graph convolutions make one feature per token;
    behind every third block a narrow cross attention lets the tokens look at
    it. The first layers of the patch encoder and the class token train too.
    In a hierarchical backbone every stage has a graph and prompts of its own.

    Its part segmentation has a decoder of its own, see
    `keras_pointpeft.models.PartSegmenter`, on all backbones but hierarchical
    ones.

    Args:
        num_prompts: int. Prompts in the sequence.
        num_neighbors: int. Neighbours of a token in the graphs, itself
            included.
        graph_dims: tuple of ints. Widths of the graph convolutions.
        graph_dim: int. Width of the graph feature.
        every: int. Behind every so-manieth block, the first one included,
            tokens look at the graph.
        rank: int. Width of the cross attention.
        num_heads: int. Its heads; must divide `rank`.
        dropout: float. Dropout rate of its weights.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: if a number is no positive integer, `graph_dims` is
            empty, or `num_heads` does not divide `rank`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.GFT()
    )
    ```
    """

    training_only = ("dropout",)
    trained = (*WITH_CLASS_TOKEN, FIRST_LAYERS)
    components = {
        "prompts": r"(^|/)tuner_sequence[^/]*/",
        "graph branch": r"(^|/)tuner_tokens_\d+/",
        "cross attention": r"/tuner/attention/",
        "class token": CLASS_TOKEN,
        "first layers": FIRST_LAYERS,
    }
    pooling = {
        "class_token": "first",
        "prompt_token": "mean",
        "patch_token": "max",
    }

    pools_prompts = True
    decoder = "prompts"
    dense_parts = 4

    def __init__(
        self,
        num_prompts=50,
        num_neighbors=20,
        graph_dims=(64, 64, 64, 64),
        graph_dim=256,
        every=3,
        rank=32,
        num_heads=1,
        dropout=0.0,
        frozen_bn="inference",
    ):
        self.num_prompts = check_positive("num_prompts", num_prompts)
        self.num_neighbors = check_positive("num_neighbors", num_neighbors)
        self.graph_dims = positive_integers("graph_dims", graph_dims)
        self.graph_dim = check_positive("graph_dim", graph_dim)
        self.every = check_positive("every", every)
        self.rank = check_positive("rank", rank)
        self.num_heads = check_positive("num_heads", num_heads)
        if rank % num_heads:
            raise ValueError(
                "`num_heads` must divide `rank`. "
                f"Received: rank={rank}, num_heads={num_heads}"
            )
        self.dropout = dropout
        super().__init__(frozen_bn)

    def sequence_tuner(self, where):
        return InputPrompts(
            self.num_prompts,
            where.blocks.start,
            where.num_class_tokens,
            **where.layer,
        )

    def token_tuner(self, where):
        if where.index != where.blocks.start:
            return None
        return GraphFeature(
            self.graph_dims, self.graph_dim, self.num_neighbors, **where.layer
        )

    def block_tuner(self, where):
        if (where.index - where.blocks.start) % self.every:
            return None
        return GraphTuner(
            self.graph_dim,
            self.rank,
            self.num_heads,
            self.dropout,
            **where.layer,
        )
