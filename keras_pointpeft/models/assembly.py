"""What all backbones share, with a method's parts in place."""

import keras
from keras import ops

from keras_pointpeft.layers import Linear
from keras_pointpeft.layers import PatchEncoder
from keras_pointpeft.layers import SplitTokens
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.models.backbone import as_method
from keras_pointpeft.models.backbone import drop_path_rates
from keras_pointpeft.peft.method import PeftMethod


class Assembly:
    """Puts together the parts of a backbone's functional graph.

    A backbone says what it is made of; where a fine-tuning method adds its
    layers is decided here, once for all backbones.

    Args:
        dim: int. Width of the tokens.
        depth: int. Number of transformer blocks.
        num_class_tokens: int. Tokens in front of the patches.
        peft: optional `keras_pointpeft.peft.PeftMethod`, or its config.
        dtype: optional dtype or `keras.DTypePolicy`.
        suffix: string. Put behind the names of the patch encoder and its
            tuner, for a backbone of several stages.
    """

    def __init__(
        self,
        dim,
        depth,
        num_class_tokens=1,
        peft=None,
        dtype=None,
        suffix="",
    ):
        self.peft = as_method(peft)
        # The base class adds nothing to a backbone; it says so once here.
        self.method = PeftMethod() if self.peft is None else self.peft
        self.policy = keras.dtype_policies.get(dtype)
        self.dim = dim
        self.depth = depth
        self.num_class_tokens = num_class_tokens
        self.suffix = suffix

    def encode(self, neighborhoods, encoder_dims, token_dim=None):
        """Patch tokens `(batch, groups, dim)` of patches of points.

        Args:
            neighborhoods: `(batch, groups, points, channels)`.
            encoder_dims: tuple of ints, see
                `keras_pointpeft.layers.PatchEncoder`.
            token_dim: optional int. Width of the patch encoder's output;
                another one than `dim` adds a linear layer `projection`.
        """
        token_dim = self.dim if token_dim is None else token_dim
        name = f"patch_encoder{self.suffix}"
        # Without a method everything trains.
        frozen = self.peft is not None and not self.method.trains(
            f"{name}/norm1/gamma"
        )
        tokens = PatchEncoder(
            token_dim,
            encoder_dims,
            frozen_statistics=frozen and self.method.frozen_bn == "inference",
            dtype=self.policy,
            name=name,
        )(neighborhoods)
        if token_dim != self.dim:
            tokens = Linear(self.dim, dtype=self.policy, name="projection")(
                tokens
            )
        tuner = self.method.patch_tuner(
            self.dim, dtype=self.policy, name=f"tuner_patches{self.suffix}"
        )
        return tokens if tuner is None else tuner(tokens)

    def transform(
        self,
        tokens,
        positions,
        geometry,
        drop_path_rate=0.0,
        make=None,
        attention_mask=None,
        blocks=None,
        **block,
    ):
        """The tokens after all blocks.

        Args:
            tokens: `(batch, tokens, dim)`, class tokens first.
            positions: `(batch, tokens, dim)`, their position embeddings.
            geometry: dict of tensors that a method's tuners may read.
            drop_path_rate: float. Stochastic depth of the last block.
            make: optional function that returns a dict of further arguments,
                called for each block; for arguments that are layers.
            attention_mask: optional boolean `(batch, tokens, tokens)`, true
                where attention is allowed.
            blocks: optional range, which of the `depth` blocks. All of them
                by default.
            **block: further arguments of
                `keras_pointpeft.layers.TransformerBlock`.
        """
        rates = drop_path_rates(drop_path_rate, self.depth)
        blocks = range(self.depth) if blocks is None else blocks
        for i in blocks:
            first = i == blocks.start
            tokens = self._positioned(first, tokens, positions)
            tuner = self.method.block_tuner(
                i,
                self.depth,
                self.dim,
                num_class_tokens=self.num_class_tokens,
                mlp_ratio=4.0,
                dtype=self.policy,
                name="tuner",
            )
            tokens = TransformerBlock(
                self.dim,
                drop_path_rate=rates[i],
                tuner=tuner,
                dtype=self.policy,
                name=f"block_{i}",
                **(block if make is None else {**block, **make()}),
            )(tokens, geometry, attention_mask)
        return tokens

    def _positioned(self, first_block, tokens, positions):
        """Tokens with the position embeddings that a block gets."""
        mode = self.method.position
        if not first_block and mode == "once":
            return tokens
        total, known = tokens.shape[1], positions.shape[1]
        if total == known:
            return tokens + positions
        first = self.num_class_tokens
        start = total - known
        if mode == "last":
            last = tokens[:, start:] + positions
            return ops.concatenate((tokens[:, :start], last), axis=1)
        # Prompts, which have no position, stand behind the class tokens.
        start = start + first
        parts = [
            tokens[:, first:start],
            tokens[:, start:] + positions[:, first:],
        ]
        if first:
            parts.insert(0, tokens[:, :first] + positions[:, :first])
        return ops.concatenate(parts, axis=1)

    def norm(self, tokens):
        """The final norm, and what the method does after it."""
        tokens = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=self.policy, name="norm"
        )(tokens)
        tuner = self.method.norm_tuner(
            self.dim, dtype=self.policy, name="tuner_norm"
        )
        return tokens if tuner is None else tuner(tokens)

    def outputs(self, tokens, patches, num_left_out=0):
        """The dict of outputs that every backbone has.

        Args:
            tokens: `(batch, tokens, dim)`, after the final norm.
            patches: dict of `"centers"` `(batch, groups, 3)` and
                `"neighborhoods"` `(batch, groups, points, 3)`.
            num_left_out: int. How many of the tokens in front are not class
                tokens after all.
        """
        groups = patches["centers"].shape[1]
        outputs = SplitTokens(
            self.num_class_tokens,
            groups,
            num_left_out,
            dtype=self.policy,
            name="split",
        )(tokens)
        side = self.method.side_tuner(
            self.dim, dtype=self.policy, name="tuner_side"
        )
        if side is not None:
            outputs["patch_tokens"] = side(
                outputs["patch_tokens"], patches["neighborhoods"]
            )
        outputs["centers"] = patches["centers"]
        return outputs
