"""What Point-PEFT does inside a block and to the final norm.

What the adapters of all blocks share, who is near whom and the attention in
these neighbourhoods, comes first.
"""

import keras
from keras import ops

from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops.arithmetic import attention
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.peft.neighborhoods import GeometryAwareAdapter
from keras_pointpeft.peft.neighborhoods import PatchNeighborhoods
from keras_pointpeft.peft.parts import BottleneckAdapter
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.peft.point_peft.prior import PointPriorPrompt
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class LocalAttention(Configurable, keras.layers.Layer):
    """Self-attention inside neighbourhoods of tokens, in a narrow width.

    Norm and projection to queries, keys and values act on single tokens, so
    they are computed once per token and not once per neighbour.

    Args:
        dim: int. Width of queries, keys and values, all heads together.
        num_heads: int. Attention heads; must divide `dim`.

    Input shape:
        tokens `(rows, width)`; int32 rows `(neighborhoods, neighbors)`.

    Output shape:
        `(neighborhoods, neighbors, width)`.
    """

    def __init__(self, dim=18, num_heads=6, **kwargs):
        super().__init__(**kwargs)
        if dim % num_heads:
            raise ValueError(
                "`num_heads` must divide the width of the local attention. "
                f"Received: dim={dim}, num_heads={num_heads}"
            )
        self.dim = dim
        self.num_heads = num_heads
        policy = self.dtype_policy
        self.norm = LayerNormalization(dtype=policy, name="norm")
        self.qkv = Linear(3 * dim, use_bias=False, dtype=policy, name="qkv")

    def build(self, tokens_shape, rows_shape=None):
        width = tokens_shape[-1]
        self.proj = Linear(width, dtype=self.dtype_policy, name="proj")
        self.norm.build((None, width))
        self.qkv.build((None, width))
        self.proj.build((None, None, self.dim))

    def call(self, tokens, rows):
        neighbors = rows.shape[-1]
        qkv = self.qkv(self.norm(tokens))
        qkv = ops.take(qkv, ops.reshape(rows, (-1,)), axis=0)
        heads, width = self.num_heads, self.dim // self.num_heads
        qkv = ops.reshape(qkv, (-1, neighbors, 3, heads, width))
        # The published scale is that of one head of the full width.
        x = attention(
            qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], scale=self.dim**-0.5
        )
        return self.proj(ops.reshape(x, (-1, neighbors, self.dim)))

    def compute_output_shape(self, tokens_shape, rows_shape):
        return (*rows_shape, tokens_shape[-1])


@serializable
class TokenNeighborhoods(PatchNeighborhoods):
    """`PatchNeighborhoods`, and what the adapters of all blocks share.

    That is the `LocalAttention`, and in reference mode the prompts'
    coordinates.

    Args:
        num_groups: int. See `PatchNeighborhoods`.
        group_size: int. Likewise.
        num_patches: int. Likewise.
        width: int. Width of the tokens.
        attention_dim: int. See `LocalAttention`.
        num_heads: int. See `LocalAttention`.
        epsilon: float. See `PatchNeighborhoods`.
        num_prompts: int. Number of learned coordinates, which join the points
            when patch centres are chosen anew, as in the published code. 0,
            the default, leaves them out.
        prompted: bool. Whether the points are a second choice of centres
            already, such as the stage before has made with its prompts.
        skip_origin: bool. See `keras_pointpeft.ops.farthest_point_sample`.

    Input shape:
        points `(batch, points, 3)` and centres `(batch, num_patches, 3)`.

    Output shape:
        as of `PatchNeighborhoods`. With `num_prompts` or `prompted`, the same
        again with the prefix `"prompted_"`, and `"prompted_centers"`
        `(batch, num_patches, 3)`.
    """

    config_names = (
        "num_groups",
        "group_size",
        "num_patches",
        "attention_dim",
        "num_heads",
        "width",
        "epsilon",
        "num_prompts",
        "skip_origin",
        "prompted",
    )

    def __init__(
        self,
        num_groups,
        group_size,
        num_patches,
        width,
        attention_dim=18,
        num_heads=6,
        epsilon=1e-8,
        num_prompts=0,
        skip_origin=False,
        prompted=False,
        **kwargs,
    ):
        super().__init__(
            num_groups, group_size, num_patches, epsilon, skip_origin, **kwargs
        )
        self.attention_dim = attention_dim
        self.num_heads = num_heads
        self.width = width
        self.num_prompts = num_prompts
        self.prompted = prompted
        self.attention = LocalAttention(
            attention_dim,
            num_heads,
            dtype=self.dtype_policy,
            name="attention",
        )

    def build(self, points_shape, centers_shape):
        self.attention.build((None, self.width))
        if self.num_prompts:
            self.prompt_coordinates = self.add_weight(
                shape=(self.num_prompts, 3),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                autocast=False,
                dtype="float32",
                name="prompt_coordinates",
            )

    @property
    def reads(self):
        """The variables that what it returns depends on."""
        return [self.prompt_coordinates] if self.num_prompts else []

    def call(self, points, centers):
        parts = self.around(centers)
        if not (self.num_prompts or self.prompted):
            return parts
        points = ops.cast(points, "float32")
        if self.num_prompts:
            shape = (ops.shape(points)[0], self.num_prompts, 3)
            prompts = ops.broadcast_to(self.prompt_coordinates, shape)
            points = ops.concatenate((prompts, points), axis=1)
        index = farthest_point_sample(
            points, self.num_patches, skip_origin=self.skip_origin
        )
        moved = gather(points, index)
        prompted = {"centers": moved, **self.around(moved)}
        return parts | {f"prompted_{k}": v for k, v in prompted.items()}

    def compute_output_spec(self, points, centers):
        parts = super().compute_output_spec(points, centers)
        if not (self.num_prompts or self.prompted):
            return parts
        # New symbolic tensors, because Keras tells the outputs of a layer
        # apart by identity.
        again = super().compute_output_spec(points, centers)
        again = {f"prompted_{name}": part for name, part in again.items()}
        shape = (centers.shape[0], self.num_patches, 3)
        moved = keras.KerasTensor(shape, "float32")
        return parts | again | {"prompted_centers": moved}


@serializable
class NormDelta(Piece, keras.layers.Layer):
    """Changes scale and offset of a norm without touching the norm.

    Input shape:
        tokens `(batch, tokens, dim)` after the LayerNorm and before it.

    Output shape:
        `(batch, tokens, dim)`.
    """

    reads_tokens = True

    def build(self, normed_shape, tokens_shape):
        shape = (normed_shape[-1],)
        self.gamma = self.add_weight(
            shape=shape, initializer="zeros", name="gamma"
        )
        self.beta = self.add_weight(
            shape=shape, initializer="zeros", name="beta"
        )

    def call(self, normed, tokens):
        x = ops.cast(tokens, "float32")
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(x * x, axis=-1, keepdims=True)
        x = ops.cast(x / ops.sqrt(variance + 1e-5), normed.dtype)
        return normed + (x * self.gamma + self.beta)

    def compute_output_shape(self, normed_shape, tokens_shape):
        return normed_shape


@serializable
class PointPEFTTuner(Configurable, BlockTuner):
    """Point-PEFT inside one block.

    Prompts in; biases moved; an adapter behind the MLP; prompts out; the
    geometry-aware adapter on the patch tokens; an adapter on all tokens.
    """

    renamed = {"attention_heads": "num_heads"}
    drops_attention = False
    SITES = ("norm1", "proj", "norm2", "fc1", "fc2")

    def __init__(
        self,
        mlp_ratio,
        num_class_tokens,
        prompted,
        reads_prior,
        num_prompts,
        prompt_dropout,
        prior_rank,
        adapter_rank,
        adapter_dropout,
        adapter_scale,
        adapter_start,
        center_scale,
        propagation_scale,
        reference,
        gated=False,
        pooling="max",
        num_heads=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.mlp_ratio = mlp_ratio
        self.num_class_tokens = num_class_tokens
        self.prompted = prompted
        self.reads_prior = reads_prior
        self.num_prompts = num_prompts
        self.prompt_dropout = prompt_dropout
        self.prior_rank = prior_rank
        self.adapter_rank = adapter_rank
        self.adapter_dropout = adapter_dropout
        self.adapter_scale = adapter_scale
        self.adapter_start = adapter_start
        self.center_scale = center_scale
        self.propagation_scale = propagation_scale
        self.reference = reference
        self.unmasked = "back" if reference else "front"
        self.gated = gated
        self.pooling = pooling
        # Heads of the attention that prompts act through, if they do so.
        self.num_heads = num_heads
        self.gates_attention = num_heads is not None
        self.prompt = None
        if prompted or self.gates_attention or reference:
            self.prompt = PointPriorPrompt(
                num_prompts,
                prior_rank if reads_prior or reference else None,
                prompt_dropout,
                adapter_start,
                dtype=policy,
                name="prompt",
            )
        self.mlp_adapter = self._adapter("mlp_adapter")
        self.geometry = None
        if self.shared is not None:
            self.geometry = GeometryAwareAdapter(
                center_scale,
                propagation_scale,
                pooling,
                self.drop_path_rate,
                dtype=policy,
                name="geometry",
            )
        self.block_adapter = self._adapter("block_adapter", residual=True)
        self.neighborhoods = tuple(
            f"prompted_{name}" if reference and prompted else name
            for name in PatchNeighborhoods.gives
        )
        if self.geometry is not None:
            self.needs = self.neighborhoods
        if reads_prior:
            self.needs = (*self.needs, "prior")

    def _adapter(self, name, residual=False):
        return BottleneckAdapter(
            self.adapter_rank,
            self.adapter_dropout,
            residual,
            start=self.adapter_start,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, tokens_shape):
        dim = tokens_shape[-1]
        shape = (None, None, dim)
        for site in self.SITES:
            width = int(dim * self.mlp_ratio) if site == "fc1" else dim
            bias = self.add_weight(
                shape=(width,), initializer="zeros", name=f"{site}_bias"
            )
            setattr(self, f"{site}_bias", bias)
        if self.reference or self.gated:
            # The published model for Point-MAE trains it without using it.
            self.gate = self.add_weight(
                shape=(1,), initializer="zeros", name="gate"
            )
        if self.gates_attention:
            self.attention_gate = self.add_weight(
                shape=(1, self.num_heads, 1, 1),
                initializer="zeros",
                name="attention_gate",
            )
        if self.prompt is not None:
            self.prompt.build(shape)
        self.mlp_adapter.build(shape)
        if self.geometry is not None:
            self.geometry.build(shape)
        self.block_adapter.build(shape)

    def enter(self, tokens, geometry, training):
        if not self.prompted:
            return tokens
        prior = geometry["prior"] if self.reads_prior else None
        prompts = self.prompt(tokens, prior, training=training)
        return insert_behind(tokens, prompts, self.num_class_tokens)

    def affine(self, site):
        if site not in self.SITES:
            return None
        return None, getattr(self, f"{site}_bias").value

    def beside(self, place, x, geometry, training):
        if place != "attention" or not self.gates_attention:
            return None
        prior = geometry["prior"] if self.reads_prior else None
        dim = x.qkv.shape[-1] // 3
        prompts = self.prompt(x.qkv[..., :dim], prior, training=training)
        query, _, _ = x.split(x.qkv)
        _, key, value = x.split(x.project(prompts))
        heads, width = query.shape[2], query.shape[3]
        if heads != self.attention_gate.shape[1]:
            raise ValueError(
                "Prompts beside the attention need as many `num_heads` "
                f"as the blocks have heads, {heads}. Received: "
                f"num_heads={self.attention_gate.shape[1]}"
            )
        scores = ops.einsum("bthw,bphw->bhtp", query, key) * width**-0.5
        # The published code applies the softmax twice.
        weights = ops.softmax(ops.softmax(scores, axis=-1), axis=-1)
        gate = self.passes("attention gate", self.attention_gate)
        weights = ops.cast(gate, weights.dtype) * weights
        return ops.einsum("bhtp,bphw->bthw", weights, value)

    def after(self, place, x, training):
        if place != "mlp":
            return x
        adapted = self.mlp_adapter(x, training=training)
        self.passes("adapter", adapted)
        if self.gated:
            gate = self.passes("gate", self.gate)
            return ops.cast(gate, x.dtype) * (x + adapted)
        return x + self.adapter_scale * adapted

    def leave(self, tokens, side, geometry, training):
        first = self.num_class_tokens
        start = first + (self.num_prompts if self.prompted else 0)
        classes, _, patches = split_at(tokens, first, start)
        if self.geometry is not None:
            slip = self.reference and self.prompted
            patches = self.geometry(
                patches,
                *(geometry[name] for name in self.neighborhoods),
                # Indices of patches, applied to prompts and patches with the
                # patches' stride, as the published code does.
                rows=tokens[:, first:] if slip else None,
                attention=self.shared.attention,
                stride=patches.shape[1] if slip else None,
                training=training,
            )
        tokens = ops.concatenate((classes, patches), axis=1)
        return self.block_adapter(tokens, training=training)
