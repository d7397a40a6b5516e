"""The contract between fine-tuning methods and backbones."""

import re

import keras
from keras import ops

from keras_pointpeft.serialization import Configurable


class BlockTuner(keras.layers.Layer):
    """What a method does inside one transformer block.

    `TransformerBlock` calls these hooks in this order. Each is a no-op here;
    a method overrides what it needs. All work on tokens
    `(batch, tokens, dim)`.
    """

    # How many tokens longer the sequence is after the block than before it.
    tokens_added = 0
    # Whether stochastic depth acts on the attention branch too.
    drops_attention = True

    def enter(self, tokens, geometry, training):
        """Before the first norm: prompts in."""
        return tokens

    def allow(self, mask, num_tokens):
        """Widens the attention mask of a block to prompts.

        `mask`, `(batch, tokens, tokens)` and true where attention is
        allowed, knows nothing of the `num_tokens - tokens` prompts. By
        default they stand in front, attend to everything and are seen by all.
        """
        return allow_others(mask, num_tokens)

    def modulate(self, site, x):
        """After `site`: norm1, qkv, proj, norm2, fc1 (before GELU) or fc2."""
        return x

    def beside_attention(self, block, qkv, geometry, training):
        """In parallel to the attention of `block`; None for nothing.

        It gets the projection `(batch, tokens, 3 * dim)` of the tokens. What
        it returns, `(batch, tokens, dim)`, is added before `block.proj`.
        """
        return None

    def mlp_input(self, tokens, normalized):
        """What the MLP reads: by default the normalized tokens."""
        return normalized

    def beside_mlp(self, x, training):
        """In parallel to the MLP, of the normalized tokens; None for nothing.

        What it returns is added to the MLP's output, before drop path.
        """
        return None

    def after_mlp(self, x, training):
        """On the MLP branch after drop path, before it joins the residual."""
        return x

    def leave(self, tokens, side, geometry, training):
        """After the last residual. `side` is what `beside_mlp` returned."""
        return tokens


def allow_others(mask, num_tokens, behind=False):
    """A mask of `num_tokens` tokens, of which the additional are unmasked.

    Args:
        mask: boolean `(batch, tokens, tokens)`.
        num_tokens: int. At least `tokens`.
        behind: bool. Whether the others stand behind those that the mask
            knows, and not in front.

    Returns:
        boolean `(batch, num_tokens, num_tokens)`.
    """
    added = num_tokens - mask.shape[-1]
    if added == 0:
        return mask
    blocked = ops.cast(ops.logical_not(mask), "int32")
    added = (0, added) if behind else (added, 0)
    return ops.pad(blocked, ((0, 0), added, added)) == 0


class _NoTuner:
    """A `BlockTuner` without the cost of a layer."""

    def __getattr__(self, name):
        value = getattr(BlockTuner, name)
        return value.__get__(self) if callable(value) else value


NO_TUNER = _NoTuner()


class PeftMethod(Configurable):
    """A fine-tuning method: what it adds to a backbone and what it trains.

    A method knows no backbone. It is a small serializable object that a
    backbone takes as `peft=`. Whatever it adds must live in layers named
    `tuner`, so that the weights of a plain backbone are a subset of those
    of a tuned one.

    Subclasses override what they need:

    * `block_tuner`, `patch_tuner`, `norm_tuner`, `side_tuner`,
      `geometry_tuner`, `prior_tuner`: the layers it adds;
    * `trained`: which variables train, as regular expressions searched in
      the variable's path, such as `block_3/fc1/bias`;
    * `state`: which variables belong to the method though they do not train,
      likewise;
    * `components`: names for the parts in `peft_summary()`;
    * `position`: `None` leaves the backbone's way of adding position
      embeddings, `"once"` adds them before the first block only, `"last"`
      adds them to as many tokens at the end of the sequence;
    * `pooling`: which tokens the head reads, or None for the backbone's own;
    * `frozen_bn`: `"inference"` if a frozen BatchNorm keeps to its moving
      statistics in training, `"track"` if it uses, and follows, the batch's.
    """

    trained = (r"(^|/)tuner[^/]*/",)
    state = ()
    components = {}
    position = None
    pooling = None
    frozen_bn = "inference"

    def patch_tuner(self, dim, **kwargs):
        """A layer on the patch tokens `(batch, groups, dim)`, or None."""
        return None

    def block_tuner(self, index, depth, dim, num_class_tokens, **kwargs):
        """The `BlockTuner` of block `index` of `depth`, or None.

        If there is a `geometry_tuner`, it is passed as `shared`, and with it
        the block's `drop_path_rate`.
        """
        return None

    def norm_tuner(self, dim, **kwargs):
        """A layer on the tokens after the final norm, or None."""
        return None

    def side_tuner(self, dim, **kwargs):
        """A layer on the final patch tokens and the patches' points, or None.

        It is called with `(batch, groups, dim)` and
        `(batch, groups, points, 3)`.
        """
        return None

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def geometry_tuner(
        self,
        dim,
        num_groups,
        group_size,
        skip_origin,
        neighborhoods=(None, None),
        **kwargs,
    ):
        """A layer that adds to what tuners know of a cloud, or None.

        It is called with the points `(batch, points, 3)` and the patches'
        centres `(batch, num_groups, 3)` and returns a dict of tensors, which
        joins the `geometry` that tuners get. It may also hold what all block
        tuners share: they get it as `shared`. `neighborhoods` says, where the
        backbone itself has an answer, how many neighbourhoods of patches
        there are and how many patches are in each.
        """
        return None

    def for_stage(self, stage, num_stages):
        """The method as it works in one stage of a hierarchical backbone.

        Such a backbone asks the returned method for the tuners of this stage.
        """
        return self

    def prior_tuner(self, dim, **kwargs):
        """A layer on what the frozen backbone makes of a cloud, or None.

        It is called with the maximum over the final tokens of the backbone
        without the method, `(batch, dim)`, and returns a dict of tensors,
        which joins `geometry`. Its attributes `num_groups` and `group_size`
        say which patches are used; None stands for the backbone's own.
        """
        return None

    def final_norm(self, norm, tokens, **kwargs):
        """Applies the final norm, and what the method does about it."""
        normed = norm(tokens)
        tuner = self.norm_tuner(tokens.shape[-1], **kwargs)
        return normed if tuner is None else tuner(normed)

    def check(self, backbone):
        """Raises ValueError if the method cannot work yet as it stands."""

    def trains(self, path):
        """Whether the backbone's variable at `path` trains."""
        return any(re.search(pattern, path) for pattern in self.trained)

    def keeps(self, path):
        """Whether the backbone's variable at `path` is the method's state."""
        return any(re.search(pattern, path) for pattern in self.state)

    def component(self, path):
        """The name of the part that the variable at `path` belongs to."""
        for name, pattern in self.components.items():
            if re.search(pattern, path):
                return name
        return "backbone"


def check_frozen_bn(value):
    if value not in ("inference", "track"):
        raise ValueError(
            "`frozen_bn` must be 'inference' or 'track'. "
            f"Received: frozen_bn={value!r}"
        )
    return value
