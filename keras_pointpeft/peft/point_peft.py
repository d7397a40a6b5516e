"""Point-PEFT: prompts from a prior bank, and a geometry-aware adapter.

[Tang et al., AAAI 2024](https://arxiv.org/abs/2310.03059).
"""

import copy

import keras
from keras import ops

from keras_pointpeft.peft import prior_bank
from keras_pointpeft.peft.bottleneck import BottleneckAdapter
from keras_pointpeft.peft.geometry_aware_adapter import GeometryAwareAdapter
from keras_pointpeft.peft.geometry_aware_adapter import TokenNeighborhoods
from keras_pointpeft.peft.method import BlockTuner
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import allow_others
from keras_pointpeft.peft.method import check_frozen_bn
from keras_pointpeft.peft.point_prior_prompt import PointPriorPrompt
from keras_pointpeft.peft.point_prior_prompt import PriorQuery
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class NormDelta(keras.layers.Layer):
    """Changes scale and offset of a norm without touching the norm.

    Input shape:
        tokens `(batch, tokens, dim)` after the LayerNorm and before it.

    Output shape:
        `(batch, tokens, dim)`.
    """

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

    config_names = (
        "mlp_ratio",
        "num_class_tokens",
        "prompted",
        "reads_prior",
        "num_prompts",
        "prompt_dropout",
        "prior_rank",
        "adapter_rank",
        "adapter_dropout",
        "adapter_scale",
        "center_scale",
        "propagation_scale",
        "reference",
        "drop_path_rate",
        "gated",
        "pooling",
        "attention_heads",
    )
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
        center_scale,
        propagation_scale,
        reference,
        drop_path_rate=0.0,
        gated=False,
        pooling="max",
        attention_heads=None,
        shared=None,
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
        self.center_scale = center_scale
        self.propagation_scale = propagation_scale
        self.reference = reference
        self.drop_path_rate = drop_path_rate
        self.gated = gated
        self.pooling = pooling
        # Heads of the attention that prompts act through, if they do so.
        self.attention_heads = attention_heads
        self.gates_attention = attention_heads is not None
        # In a function, so that Keras does not save it with every block.
        self._shared = lambda: shared
        self.prompt = None
        if prompted or self.gates_attention or reference:
            self.prompt = PointPriorPrompt(
                num_prompts,
                prior_rank if reads_prior or reference else None,
                prompt_dropout,
                dtype=policy,
                name="prompt",
            )
        self.mlp_adapter = BottleneckAdapter(
            adapter_rank, adapter_dropout, dtype=policy, name="mlp_adapter"
        )
        self.geometry = None
        if shared is not None:
            self.geometry = GeometryAwareAdapter(
                center_scale,
                propagation_scale,
                pooling,
                drop_path_rate,
                dtype=policy,
                name="geometry",
            )
        self.block_adapter = BottleneckAdapter(
            adapter_rank,
            adapter_dropout,
            residual=True,
            dtype=policy,
            name="block_adapter",
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
                shape=(1, self.attention_heads, 1, 1),
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
        first = self.num_class_tokens
        return ops.concatenate(
            (tokens[:, :first], prompts, tokens[:, first:]), axis=1
        )

    def allow(self, mask, num_tokens):
        # The published code puts the patches' mask in front, on the prompts.
        return allow_others(mask, num_tokens, behind=self.reference)

    def modulate(self, site, x):
        if site not in self.SITES:
            return x
        return x + ops.cast(getattr(self, f"{site}_bias"), x.dtype)

    def beside_attention(self, block, qkv, geometry, training):
        if not self.gates_attention:
            return None
        prior = geometry["prior"] if self.reads_prior else None
        prompts = self.prompt(qkv[..., : block.dim], prior, training=training)
        query, _, _ = block.split_heads(qkv)
        _, key, value = block.split_heads(block.qkv(prompts))
        heads, width = query.shape[2], query.shape[3]
        if heads != self.attention_gate.shape[1]:
            raise ValueError(
                "Prompts beside the attention need as many `attention_heads` "
                f"as the blocks have heads, {heads}. Received: "
                f"attention_heads={self.attention_gate.shape[1]}"
            )
        scores = ops.einsum("bthw,bphw->bhtp", query, key) * width**-0.5
        # Twice, as the published code does it.
        weights = ops.softmax(ops.softmax(scores, axis=-1), axis=-1)
        weights = ops.cast(self.attention_gate, weights.dtype) * weights
        mixed = ops.einsum("bhtp,bphw->bthw", weights, value)
        return ops.reshape(mixed, (-1, qkv.shape[1], block.dim))

    def after_mlp(self, x, training):
        adapted = self.mlp_adapter(x, training=training)
        if self.gated:
            return ops.cast(self.gate, x.dtype) * (x + adapted)
        return x + self.adapter_scale * adapted

    def leave(self, tokens, side, geometry, training):
        first = self.num_class_tokens
        rows = tokens[:, first:]
        start = first + (self.num_prompts if self.prompted else 0)
        classes, patches = tokens[:, :first], tokens[:, start:]
        if self.geometry is not None:
            slip = self.reference and self.prompted
            prefix = "prompted_" if slip else ""
            names = ("neighbors", "chosen", "propagation")
            patches = self.geometry(
                patches,
                *(geometry[prefix + name] for name in names),
                # Indices of patches, applied to prompts and patches with the
                # patches' stride, as the published code does.
                rows=rows if slip else None,
                attention=self._shared().attention,
                stride=patches.shape[1] if slip else None,
                training=training,
            )
        tokens = ops.concatenate((classes, patches), axis=1)
        return self.block_adapter(tokens, training=training)


@serializable
class PointPEFT(PeftMethod):
    """Prompts drawn from a bank of features, and geometry-aware adapters.

    [Point-PEFT](https://arxiv.org/abs/2310.03059) freezes the backbone. The
    first blocks get prompts: learned ones plus what the frozen backbone's
    feature of the cloud finds in a bank of features of the training set (see
    `PriorBank`, which builds it). Every block gets an adapter behind its MLP,
    one at its end, and in between the `GeometryAwareAdapter`. Biases of
    blocks and the final norm train too, as differences to the frozen ones:
    the bank's query uses the same frozen weights in a second, narrow pass.

    A model with `prior=True` needs a bank before it is used:

    ```python
    bank = keras_pointpeft.peft.PriorBank.build(model, train_points)
    bank.attach(model)
    ```

    The published code has two defects, which `reference=True` reproduces for
    the sake of its checkpoints. Neighbours in the prompted blocks are looked
    up with the stride of another tensor, so that samples read rows of other
    samples of their batch, and prompts for patches; and their coordinates
    belong to a second choice of patches, with learned coordinates of the
    prompts among the points. The default is what the paper means: patches
    exchange features with the patches next to them, and a sample's logits do
    not depend on the rest of its batch. It also leaves out what the published
    model trains but never uses.

    Args:
        num_prompts: int. Prompts per block. The mix, the feature itself and
            `num_prompts - 2` entries of the bank make the prior.
        prompt_blocks: int. How many blocks, from the first, get prompts.
        prior: bool. Whether prompts draw on a bank. Without it they are
            learned alone and no second pass is made.
        bank_size: int. Room for so many features in the bank.
        prior_groups: int or None. Patches of the pass that makes the query;
            None for the backbone's own number.
        prior_group_size: int or None. Points per patch, likewise.
        prior_rank: int. Width of the prior's adapters.
        prompt_dropout: float. Dropout rate of the learned prompts.
        adapter_rank: int. Width of the other adapters.
        adapter_dropout: float. Dropout rate inside them.
        adapter_scale: float. Scale of the adapter behind the MLP.
        geometry_adapter: bool. Whether there are geometry-aware adapters.
        neighborhood_ratio: int. A neighbourhood for every so many patches,
            of `group_size // neighborhood_ratio` patches.
        attention_dim: int. Width of the local attention.
        attention_heads: int. Its heads.
        center_scale: float. See `GeometryAwareAdapter`.
        propagation_scale: float. See `GeometryAwareAdapter`.
        neighborhood_pooling: `"max"` or `"max+mean"`, likewise.
        prompt_place: `"sequence"`, prompts are tokens of their block, or
            `"attention"`: the tokens look at them in an attention of its own,
            behind one gate per head that starts at 0. The latter, `gated` and
            `prompt_blocks` as many as there are blocks, is what the published
            code has for ModelNet40.
        gated: bool. Whether a learned scale that starts at 0 stands before
            the sum of MLP and adapter in each block, in place of
            `adapter_scale`, as in the published code for Point-M2AE: training
            then starts as if the backbone had no MLPs.
        reference: bool. Whether to compute what the published code computes.
        frozen_bn: `"inference"` or `"track"`. What the frozen BatchNorms of
            the patch encoder do in training: keep to their moving statistics,
            or use and follow those of the batch, as the published code does.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.PointPEFT(bank_size=512)
    )
    ```
    """

    config_names = (
        "num_prompts",
        "prompt_blocks",
        "prior",
        "bank_size",
        "prior_groups",
        "prior_group_size",
        "prior_rank",
        "prompt_dropout",
        "adapter_rank",
        "adapter_dropout",
        "adapter_scale",
        "geometry_adapter",
        "neighborhood_ratio",
        "attention_dim",
        "attention_heads",
        "center_scale",
        "propagation_scale",
        "reference",
        "frozen_bn",
        "bank_recipe",
        "neighborhood_pooling",
        "gated",
        "prompt_place",
    )
    trained = (r"(^|/)tuner[^/]*/", r"(^|/)class_tokens/")
    state = (r"(^|/)tuner_prior/",)
    components = {
        "prompts": r"/tuner/prompt/|/prompt_coordinates$",
        "geometry-aware adapter": r"(^|/)tuner_geometry|/tuner/geometry/",
        "adapters": r"/tuner/(mlp|block)_adapter/",
        "biases and norm": r"/tuner/\w+_bias$|(^|/)tuner_norm/",
        "class token": r"(^|/)class_tokens/",
        "gates": r"/tuner/(attention_)?gate$",
    }

    def __init__(
        self,
        num_prompts=10,
        prompt_blocks=6,
        prior=True,
        bank_size=2048,
        prior_groups=64,
        prior_group_size=32,
        prior_rank=8,
        prompt_dropout=0.1,
        adapter_rank=16,
        adapter_dropout=0.1,
        adapter_scale=0.7,
        geometry_adapter=True,
        neighborhood_ratio=2,
        attention_dim=18,
        attention_heads=6,
        center_scale=0.3,
        propagation_scale=0.3,
        reference=False,
        frozen_bn="inference",
        bank_recipe=None,
        neighborhood_pooling="max",
        gated=False,
        prompt_place="sequence",
    ):
        if prompt_place not in ("sequence", "attention"):
            raise ValueError(
                "`prompt_place` must be 'sequence' or 'attention'. "
                f"Received: prompt_place={prompt_place!r}"
            )
        if prior and num_prompts < 3:
            raise ValueError(
                "The prior's prompts are the feature, the mix and at least "
                "one entry of the bank: `num_prompts` must be at least 3. "
                f"Received: num_prompts={num_prompts}"
            )
        if neighborhood_ratio < 1:
            raise ValueError(
                "`neighborhood_ratio` must be at least 1. "
                f"Received: neighborhood_ratio={neighborhood_ratio}"
            )
        self.num_prompts = num_prompts
        self.prompt_blocks = prompt_blocks
        self.prior = prior
        self.bank_size = bank_size
        self.prior_groups = prior_groups
        self.prior_group_size = prior_group_size
        self.prior_rank = prior_rank
        self.prompt_dropout = prompt_dropout
        self.adapter_rank = adapter_rank
        self.adapter_dropout = adapter_dropout
        self.adapter_scale = adapter_scale
        self.geometry_adapter = geometry_adapter
        self.neighborhood_ratio = neighborhood_ratio
        self.attention_dim = attention_dim
        self.attention_heads = attention_heads
        self.center_scale = center_scale
        self.propagation_scale = propagation_scale
        self.reference = reference
        self.frozen_bn = check_frozen_bn(frozen_bn)
        # How the bank that was attached had been made; see `PriorBank`.
        self.bank_recipe = bank_recipe
        self.neighborhood_pooling = neighborhood_pooling
        self.gated = gated
        self.prompt_place = prompt_place
        self._stage = 0

    def for_stage(self, stage, num_stages):
        # The last stage alone draws on the bank: its tokens are the bank's.
        method = copy.copy(self)
        method._stage = stage
        if stage < num_stages - 1:
            method.prior, method.prior_rank = False, None
        return method

    def geometry_tuner(
        self,
        dim,
        num_groups,
        group_size,
        skip_origin,
        neighborhoods=(None, None),
        **kwargs,
    ):
        if not self.geometry_adapter:
            return None
        count, size = neighborhoods
        first = self._stage == 0
        return TokenNeighborhoods(
            count or num_groups // self.neighborhood_ratio,
            size or group_size // self.neighborhood_ratio,
            num_groups,
            dim,
            self.attention_dim,
            self.attention_heads,
            num_prompts=self.num_prompts if self.reference and first else 0,
            prompted=self.reference and not first,
            skip_origin=skip_origin,
            **kwargs,
        )

    def prior_tuner(self, dim, **kwargs):
        if not self.prior:
            return None
        return PriorQuery(
            self.bank_size,
            self.num_prompts - 2,
            self.prior_groups,
            self.prior_group_size,
            **kwargs,
        )

    def block_tuner(
        self, index, depth, dim, num_class_tokens, mlp_ratio, **kwargs
    ):
        if self.geometry_adapter and "shared" not in kwargs:
            raise ValueError(
                "This backbone does not tell a method the geometry of its "
                "patches, as `PointPEFT` needs. Received: a block without "
                "`shared`"
            )
        beside = self.prompt_place == "attention"
        prompted = index < self.prompt_blocks
        return PointPEFTTuner(
            mlp_ratio,
            num_class_tokens,
            prompted=prompted and not beside,
            attention_heads=(
                self.attention_heads if prompted and beside else None
            ),
            reads_prior=self.prior and index < self.prompt_blocks,
            num_prompts=self.num_prompts,
            prompt_dropout=self.prompt_dropout,
            prior_rank=self.prior_rank,
            adapter_rank=self.adapter_rank,
            adapter_dropout=self.adapter_dropout,
            adapter_scale=self.adapter_scale,
            center_scale=self.center_scale,
            propagation_scale=self.propagation_scale,
            reference=self.reference,
            gated=self.gated,
            pooling=self.neighborhood_pooling,
            **kwargs,
        )

    def final_norm(self, norm, tokens, **kwargs):
        return NormDelta(**kwargs)(norm(tokens), tokens)

    def check(self, backbone):
        prior_bank.require_bank(backbone)
