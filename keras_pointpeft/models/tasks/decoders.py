"""Decoders of segmentation: from tokens back to points.

A decoder is a function of the symbolic points `(batch, points, 3)`, the
symbolic category feature `(batch, width)` or None, the category's one-hot
code or None, and what `PointBackbone.dense` gives. It returns the features of
the points `(batch, points, width)` and the context that all points of a cloud
share, `(batch, width)` or None.
"""

import dataclasses
from collections.abc import Callable

from keras import ops

from keras_pointpeft.layers import CategoryEmbedding
from keras_pointpeft.layers import CategoryTable
from keras_pointpeft.layers import FeaturePropagation
from keras_pointpeft.layers import GraphPropagation
from keras_pointpeft.layers import TokenDecoder
from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather

# Points that the graph decoder chooses, over patches.
GRAPH_UPSAMPLING = 4


@dataclasses.dataclass(frozen=True)
class Decoder:
    """A published way from tokens back to points.

    Attributes:
        decode: function, see above.
        propagation_dims: function from the width of the tokens to the widths
            on the way, a tuple of ints.
        head_dims: tuple of ints, those of the head's hidden layers.
        category: class of the layer that makes a feature of the category; None
            for its one-hot code.
        context_first: bool. Where the head has the context.
        upsampling: int. So many times the patches' number of points are
            chosen from the cloud.
        head_norm: bool or string. What follows the head's hidden layers, see
            `keras_pointpeft.layers.ClassificationHead`.
    """

    decode: Callable
    propagation_dims: Callable
    head_dims: tuple
    category: type | None = CategoryEmbedding
    context_first: bool = False
    upsampling: int = 1
    head_norm: bool | str = True


def decode_tokens(points, category, dense, dims, policy, **kwargs):
    """Point-MAE's: the tokens of three blocks side by side, carried once."""
    tokens = ops.concatenate(dense["tokens"], axis=-1)
    pooled = tokens
    if "pooled_tokens" in dense:
        pooled = ops.concatenate(dense["pooled_tokens"], axis=-1)
    context = [ops.max(pooled, axis=1), ops.mean(pooled, axis=1)]
    if "prompts" in dense:
        context = [ops.mean(prompt, axis=1) for prompt in dense["prompts"]]
    if "class_tokens" in dense:
        context.append(ops.max(dense["class_tokens"], axis=1))
    if category is not None:
        context.append(category)
    layer = FeaturePropagation(dims, dtype=policy, name="propagation")
    features = layer(points, dense["centers"][0], points, tokens)
    return features, ops.concatenate(context, axis=-1)


def decode_stages(points, category, dense, dims, policy, **kwargs):
    """Point-M2AE's: every stage is carried to the points by itself."""
    carried = [
        FeaturePropagation(dims, dtype=policy, name=f"propagation_{i}")(
            points, centers, points, tokens
        )
        for i, (tokens, centers) in enumerate(
            zip(dense["tokens"], dense["centers"])
        )
    ]
    features = ops.concatenate(carried, axis=-1)
    context = ops.max(features, axis=1) + ops.mean(features, axis=1)
    if category is not None:
        context = ops.concatenate((context, category), axis=-1)
    return features, context


def decode_graph(points, category, dense, dims, policy, skip_origin=False):
    """Point-BERT's: from block to block to twice as many points.

    The patches' centres are the first of all points that farthest point
    sampling chooses, so the larger choices go on from them.
    """
    early, middle, late = dense["tokens"]
    centers = dense["centers"][0]
    groups, width = late.shape[1:]
    if dims[-1] != width:
        raise ValueError(
            "Edges join features of the tokens' width, so `propagation_dims` "
            f"must end with {width}. Received: propagation_dims={dims}"
        )
    count = GRAPH_UPSAMPLING * groups
    chosen = farthest_point_sample(points, count, skip_origin)
    many = gather(points, chosen)
    fewer = many[:, : 2 * groups]

    def carry(name, queries, sources, known, tokens):
        layer = FeaturePropagation(dims, dtype=policy, name=name)
        return layer(queries, sources, known, tokens)

    def along_edges(name, *inputs):
        widths = (4 * (width // 3), width)
        return GraphPropagation(widths, dtype=policy, name=name)(*inputs)

    of_many = carry("propagation_1", many, centers, many, early)
    of_fewer = carry("propagation_2", fewer, centers, fewer, middle)
    of_fewer = along_edges("graph_2", centers, late, fewer, of_fewer)
    of_many = along_edges("graph_1", fewer, of_fewer, many, of_many)
    known = points
    if category is not None:
        code = category[:, None] + ops.zeros_like(points[:, :, :1])
        known = ops.concatenate((code, points), axis=-1)
    return carry("propagation_0", points, many, known, of_many), None


def decode_prompts(points, category, dense, dims, policy, **kwargs):
    """GFT's: narrow blocks join four, and what is near stands side by side.

    The first of `dims` is the width of these blocks. Prompts, which stand in
    front of the patches, are a part of the context.
    """
    width, *dims = dims
    decoder = TokenDecoder(width, dtype=policy, name="decoder")
    tokens = decoder(dense["pooled_tokens"])
    centers = dense["centers"][0]
    count = tokens.shape[1] - centers.shape[1]
    context = [
        ops.mean(tokens[:, :count], axis=1),
        ops.max(dense["graph"], axis=1),
    ]
    if category is not None:
        context.append(category)
    layer = FeaturePropagation(
        dims, side_by_side=True, dtype=policy, name="propagation"
    )
    features = layer(points, centers, points, tokens[:, count:])
    return features, ops.concatenate(context, axis=-1)


DECODERS = {
    "tokens": Decoder(
        decode_tokens, lambda dim: (4 * dim, 8 * dim // 3), (512, 256)
    ),
    "stages": Decoder(
        decode_stages,
        lambda dim: (4 * dim, 8 * dim // 3),
        (1024, 512, 256),
        context_first=True,
    ),
    "prompts": Decoder(
        decode_prompts,
        # The blocks have four heads.
        lambda dim: (4 * (dim // 12), 8 * dim // 3, 4 * dim // 3),
        (512, 256),
        category=CategoryTable,
        head_norm="layer",
    ),
    "graph": Decoder(
        decode_graph,
        lambda dim: (4 * dim, dim),
        (128,),
        category=None,
        upsampling=GRAPH_UPSAMPLING,
    ),
}
