"""DAPT: dynamic adapter meets prompt tuning.

[Zhou et al., CVPR 2024](https://arxiv.org/abs/2403.01439).
"""

import keras
from keras import ops

from keras_pointpeft.layers.layer_normalization import LayerNormalization
from keras_pointpeft.layers.linear import Linear
from keras_pointpeft.layers.part_call import part_call
from keras_pointpeft.ops.dynamic_adapter import dynamic_adapter
from keras_pointpeft.peft.feature_transform import BLOCK_SITES
from keras_pointpeft.peft.feature_transform import SITES
from keras_pointpeft.peft.feature_transform import FeatureTransform
from keras_pointpeft.peft.feature_transform import SiteTransforms
from keras_pointpeft.peft.feature_transform import block_sites
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_frozen_bn
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.method import check_sites
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class DynamicAdapter(Configurable, keras.layers.Layer):
    """A bottleneck adapter that gives every token its own scale.

    `scale * up(dropout(gelu(down(norm(x)))))` with the scale
    `relu(norm(x) @ w + b)`, one number per token (section 3.2 of the paper).
    The up-projection starts at zero, and so does the adapter's output.

    Args:
        rank: int. Width of the bottleneck.
        dropout: float. Dropout rate inside the bottleneck.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Example:
    ```python
    adapter = keras_pointpeft.peft.DynamicAdapter(rank=64)
    tokens = tokens + adapter(tokens)
    ```
    """

    config_names = ("rank", "dropout")

    def __init__(self, rank=64, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.dropout = dropout
        policy = self.dtype_policy
        self.norm = LayerNormalization(dtype=policy, name="norm")
        self.scale = Linear(
            1, bias_initializer="zeros", dtype=policy, name="scale"
        )
        self.down = Linear(
            rank, bias_initializer="zeros", dtype=policy, name="down"
        )
        self.drop = keras.layers.Dropout(dropout, dtype=policy, name="drop")

    def build(self, input_shape):
        dim = input_shape[-1]
        self.up = Linear(
            dim,
            kernel_initializer="zeros",
            bias_initializer="zeros",
            dtype=self.dtype_policy,
            name="up",
        )
        for layer in (self.norm, self.scale, self.down):
            layer.build((None, None, dim))
        for layer in (self.drop, self.up):
            layer.build((None, None, self.rank))

    def token_scale(self, normed):
        """The dynamic scale `(batch, tokens, 1)` of normalized tokens."""
        return ops.relu(part_call(self.scale, normed))

    def call(self, tokens, training=False):
        mask = None
        if training and self.dropout:
            shape = (*ops.shape(tokens)[:-1], self.rank)
            mask = ops.ones(shape, dtype=self.compute_dtype)
            mask = part_call(self.drop, mask, training=True)

        def values(layer):
            both = (layer.kernel, layer.bias)
            return tuple(ops.convert_to_tensor(x) for x in both)

        norm = self.norm
        return dynamic_adapter(
            tokens,
            (norm.gamma.value, norm.beta.value, norm.epsilon),
            values(self.scale),
            values(self.down),
            values(self.up),
            mask,
        )

    def compute_output_shape(self, input_shape):
        return input_shape


@serializable
class InternalPrompt(Configurable, keras.layers.Layer):
    """Inserts a prompt made from the adapter's output into the sequence.

    The prompt is a feature transform of the mean over all tokens of
    `gelu(adapter output)` (section 3.3 of the paper). It goes right behind
    the class tokens and stays for all later blocks.

    Args:
        num_class_tokens: int. How many tokens stay in front of it.

    Input shape:
        two tensors `(batch, tokens, dim)`: tokens and the adapter's output.

    Output shape:
        `(batch, tokens + 1, dim)`.
    """

    config_names = ("num_class_tokens",)

    def __init__(self, num_class_tokens=1, **kwargs):
        super().__init__(**kwargs)
        self.num_class_tokens = num_class_tokens
        self.transform = FeatureTransform(
            dtype=self.dtype_policy, name="transform"
        )

    def build(self, tokens_shape, adapted_shape=None):
        self.transform.build((None, None, tokens_shape[-1]))

    def call(self, tokens, adapted):
        prompt = ops.gelu(adapted, approximate=False)
        prompt = ops.mean(prompt, axis=1, keepdims=True)
        prompt = part_call(self.transform, prompt)
        first = self.num_class_tokens
        return ops.concatenate(
            (tokens[:, :first], prompt, tokens[:, first:]), axis=1
        )

    def compute_output_shape(self, tokens_shape, adapted_shape=None):
        batch, tokens, dim = tokens_shape
        return (batch, tokens + 1, dim)


@serializable
class DAPTTuner(SiteTransforms):
    """DAPT inside one block: the transforms, the adapter and the prompt."""

    config_names = (
        "mlp_ratio",
        "rank",
        "dropout",
        "num_class_tokens",
        "sites",
        "mlp_reads",
    )
    tokens_added = 1

    def __init__(
        self,
        mlp_ratio,
        rank,
        dropout,
        num_class_tokens,
        sites=BLOCK_SITES,
        mlp_reads="normalized",
        **kwargs,
    ):
        super().__init__(mlp_ratio, sites, **kwargs)
        policy = self.dtype_policy
        self.rank = rank
        self.dropout = dropout
        self.num_class_tokens = num_class_tokens
        self.mlp_reads = mlp_reads
        self.adapter = DynamicAdapter(
            rank, dropout, dtype=policy, name="adapter"
        )
        self.prompt = InternalPrompt(
            num_class_tokens, dtype=policy, name="prompt"
        )

    def build(self, tokens_shape):
        super().build(tokens_shape)
        self.adapter.build(tokens_shape)
        self.prompt.build(tokens_shape)

    def mlp_input(self, tokens, normalized):
        return tokens if self.mlp_reads == "tokens" else normalized

    def beside_mlp(self, x, training):
        return part_call(self.adapter, x, training=training)

    def token_scale(self, x):
        return self.adapter.token_scale(self.adapter.norm(x))

    def leave(self, tokens, side, geometry, training):
        return part_call(self.prompt, tokens, side)


@serializable
class DAPT(PeftMethod):
    """Dynamic adapter, internal prompts and feature transforms.

    [DAPT](https://arxiv.org/abs/2403.01439) freezes the backbone and trains,
    in every block, a `DynamicAdapter` beside the MLP, an `InternalPrompt`
    made from its output and a `FeatureTransform` after each linear layer and
    norm; beside them the class token, its position and the head. Position
    embeddings are added once, before the first block.

    Args:
        rank: int. Width of the adapters' bottleneck.
        dropout: float. Dropout rate inside the adapters.
        class_token: how the head reads the class token: None or `"first"`.
        prompt_token: how the head reads the prompts: None, `"mean"` or
            `"max"`, or `"with_patches"` to pool them with the patch tokens.
        patch_token: how the head reads the patch tokens: None, `"mean"` or
            `"max"`. (The published code offers None and `"max"`.)
        position: `"once"`, None to add the position before every block as
            the backbone itself may do, or `"last"` to add it before every
            block to as many tokens at the end of the sequence, as the
            published code for PointGPT does; the positions of the class
            tokens then move on to the prompts.
        sites: tuple of strings. Where feature transforms stand: after
            `"patches"` (the patch encoder), in every block after `"norm1"`,
            `"qkv"`, `"proj"`, `"norm2"`, `"fc1"` and `"fc2"`, and after the
            `"final"` norm.
        mlp_reads: `"normalized"`, or `"tokens"` to have the MLP read the
            tokens as they are before its norm, as the published code for
            PointGPT does; the norm then serves the adapter alone.
        frozen_bn: `"inference"` or `"track"`. What the frozen BatchNorms of
            the patch encoder do in training: keep to their moving statistics,
            or use and follow those of the batch, as the published code does.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.DAPT(rank=64)
    )
    ```
    """

    config_names = (
        "rank",
        "dropout",
        "class_token",
        "prompt_token",
        "patch_token",
        "position",
        "sites",
        "mlp_reads",
        "frozen_bn",
    )
    trained = WITH_CLASS_TOKEN
    components = {
        "dynamic adapter": r"(^|/)tuner[^/]*/adapter/",
        "internal prompt": r"(^|/)tuner[^/]*/prompt/",
        "feature transforms": r"(^|/)tuner[^/]*/",
        "class token": r"(^|/)class_(tokens|norm)/",
    }

    def __init__(
        self,
        rank=64,
        dropout=0.0,
        class_token="first",
        prompt_token="mean",
        patch_token="max",
        position="once",
        sites=SITES,
        mlp_reads="normalized",
        frozen_bn="inference",
    ):
        if position not in ("once", "last", None):
            raise ValueError(
                "`position` must be 'once', 'last' or None. "
                f"Received: position={position!r}"
            )
        if mlp_reads not in ("normalized", "tokens"):
            raise ValueError(
                "`mlp_reads` must be 'normalized' or 'tokens'. "
                f"Received: mlp_reads={mlp_reads!r}"
            )
        self.rank = check_positive("rank", rank)
        self.dropout = dropout
        self.class_token = class_token
        self.prompt_token = prompt_token
        self.patch_token = patch_token
        self.position = position
        self.sites = check_sites(sites, SITES)
        self.mlp_reads = mlp_reads
        self.frozen_bn = check_frozen_bn(frozen_bn)

    @property
    def pooling(self):
        return {
            "class_token": self.class_token,
            "prompt_token": self.prompt_token,
            "patch_token": self.patch_token,
        }

    def patch_tuner(self, dim, **kwargs):
        return FeatureTransform(**kwargs) if "patches" in self.sites else None

    def block_tuner(
        self, index, depth, dim, num_class_tokens, mlp_ratio, **kwargs
    ):
        return DAPTTuner(
            mlp_ratio,
            self.rank,
            self.dropout,
            num_class_tokens,
            block_sites(self.sites),
            self.mlp_reads,
            **kwargs,
        )

    def norm_tuner(self, dim, **kwargs):
        return FeatureTransform(**kwargs) if "final" in self.sites else None

    def merged(self, partial=False):
        if not partial:
            raise ValueError(
                "DAPT's adapters and prompts depend on the tokens and cannot "
                "be merged. Its transforms can: `partial=True` folds these "
                "and leaves the rest. Received: partial=False"
            )
        config = self.get_config()
        return type(self)(**{**config, "sites": ()})
