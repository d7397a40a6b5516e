import keras
from keras import ops

from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.patches import SinePosition
from keras_pointpeft.layers.transformer_block import TransformerBlock
from keras_pointpeft.ops.chamfer import chamfer_distance
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class PointGenerator(Configurable, keras.layers.Layer):
    """Predicts the points of each patch from the tokens before it.

    [PointGPT](https://arxiv.org/abs/2305.11487), section 3.2: causal blocks
    on the tokens of the patches before, told in which direction the next
    patch lies. What it gets wrong may be added to the loss: the chamfer
    distances with and without square, together.

    Args:
        dim: int. Width of the tokens.
        depth: int. Number of transformer blocks.
        num_heads: int. Attention heads per block.
        group_size: int. Points per patch.
        loss_weight: float. Weight of the loss that a call with a target adds.
        tuners: list of a `keras_pointpeft.peft.BlockTuner` or None for each
            block; none by default.

    Input shape:
        tokens `(batch, groups, dim)`, of which the first belongs to no patch
        and the second to the first one; centers `(batch, groups, 3)`; target,
        optional, `(batch, groups, group_size, 3)`; attention_mask, optional,
        boolean `(1, groups, groups)`, true where attention is allowed;
        geometry, optional, a dict of the tensors that the tuners need.

    Output shape:
        `(batch, groups, group_size, 3)`.

    Example:
    ```python
    generate = keras_pointpeft.layers.PointGenerator(
        dim=96, depth=1, num_heads=6, group_size=16
    )
    tokens, centers = np.random.rand(2, 32, 96), np.random.rand(2, 32, 3)
    points = generate(tokens, centers)  # (2, 32, 16, 3)
    ```
    """

    def __init__(
        self,
        dim,
        depth,
        num_heads,
        group_size,
        loss_weight=3.0,
        tuners=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dim = dim
        self.depth = depth
        self.num_heads = num_heads
        self.group_size = group_size
        self.loss_weight = loss_weight
        self.tuners = [None] * depth if tuners is None else tuners
        policy = self.dtype_policy
        self.position = SinePosition(dim, dtype=policy, name="position")
        self.blocks = [
            TransformerBlock(
                dim,
                num_heads,
                qkv_bias=True,
                normalized_skips=(True, False),
                causal=True,
                tuner=tuner,
                dtype=policy,
                name=f"block_{i}",
            )
            for i, tuner in enumerate(self.tuners)
        ]
        self.norm = LayerNormalization(dtype=policy, name="norm")
        self.points = Linear(3 * group_size, dtype=policy, name="points")

    def build(
        self,
        tokens_shape,
        centers_shape=None,
        target_shape=None,
        attention_mask_shape=None,
        geometry_shape=None,
    ):
        shape = (None, None, self.dim)
        self.position.build(centers_shape)
        for layer in (*self.blocks, self.norm, self.points):
            layer.build(shape)

    def call(
        self,
        tokens,
        centers,
        target=None,
        attention_mask=None,
        geometry=None,
        training=False,
    ):
        positions = self.position(directions(centers))
        x = tokens
        for block in self.blocks:
            x = block(
                x + positions, geometry, attention_mask, training=training
            )
        points = ops.cast(self.points(self.norm(x)), "float32")
        shape = (-1, centers.shape[1], self.group_size, 3)
        points = ops.reshape(points, shape)
        if target is not None:
            self.add_loss(self.loss_weight * generation_loss(points, target))
        return points

    def compute_output_spec(self, tokens, centers, **kwargs):
        shape = (*tokens.shape[:2], self.group_size, 3)
        return keras.KerasTensor(shape, "float32")


def directions(centers):
    """The first centre, then unit vectors from each centre to the next.

    Args:
        centers: `(batch, groups, 3)`.

    Returns:
        `(batch, groups, 3)`.
    """
    centers = ops.cast(centers, "float32")
    steps = centers[:, 1:] - centers[:, :-1]
    squared = ops.sum(steps * steps, axis=-1, keepdims=True)
    # Two centres at the same place have no direction.
    apart = squared > 0.0
    length = ops.sqrt(ops.where(apart, squared, 1.0))
    units = ops.where(apart, steps / length, 0.0)
    return ops.concatenate((centers[:, :1], units), axis=1)


def generation_loss(points, target):
    """Both chamfer distances of patches, summed.

    Args:
        points: `(batch, groups, group_size, 3)`.
        target: likewise.
    """
    flat = (-1, points.shape[2], 3)
    points, target = ops.reshape(points, flat), ops.reshape(target, flat)
    return chamfer_distance(points, target, "l1") + chamfer_distance(
        points, target, "l2"
    )
