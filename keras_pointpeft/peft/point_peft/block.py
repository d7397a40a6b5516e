"""What Point-PEFT does inside a block and to the final norm."""

import keras
from keras import ops

from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.peft.parts.bottleneck import BottleneckAdapter
from keras_pointpeft.peft.parts.neighborhoods import GeometryAwareAdapter
from keras_pointpeft.peft.parts.neighborhoods import PatchNeighborhoods
from keras_pointpeft.peft.parts.prompts import insert_behind
from keras_pointpeft.peft.point_peft.prior import PointPriorPrompt
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


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
