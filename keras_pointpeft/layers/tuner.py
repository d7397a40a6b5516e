"""What a fine-tuning method may do inside a transformer block."""

import keras
from keras import ops

# Where a block can be tuned: after these layers.
BLOCK_SITES = ("norm1", "qkv", "proj", "norm2", "fc1", "fc2")


class BlockTuner(keras.layers.Layer):
    """What a method does inside one transformer block.

    `TransformerBlock` calls these hooks in this order. Each is a no-op here;
    a method overrides what it needs. All work on tokens
    `(batch, tokens, dim)`.

    Args:
        shared: optional. What all blocks share, see `PeftMethod`; it belongs
            to no single one and is not saved with any.
        drop_path_rate: float. Stochastic depth of the block.
    """

    # How many tokens longer the sequence is after the block than before it.
    tokens_added = 0
    # Whether stochastic depth acts on the attention branch too.
    drops_attention = True

    def __init__(self, shared=None, drop_path_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.drop_path_rate = drop_path_rate
        # In a function, so that Keras does not save it with every block.
        self._shared = lambda: shared

    @property
    def shared(self):
        """What all blocks share, or None."""
        return self._shared()

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

    def beside(self, site, x, training):
        """In parallel to the layer at `site`, of what it reads, or None.

        Sites are qkv, proj, fc1 (before GELU) and fc2.
        """
        return None

    def affine(self, site):
        """A scale, which may be None, and a shift per channel, or None.

        Applied after `site`: norm1, qkv, proj, norm2, fc1 (before GELU) or
        fc2. A norm takes them in, so that they cost nothing.
        """
        return None

    def modulate(self, site, x):
        """Anything else after `site`, but for fc1, and behind `affine`."""
        return x

    def keys_and_values(self, key, value):
        """Keys and values of the attention: prefixes in front of both.

        Each is `(batch, tokens, heads, width)`. All tokens see prefixes.
        """
        return key, value

    def beside_attention(self, block, qkv, geometry, training):
        """In parallel to the attention of `block`; None for nothing.

        It gets the projection `(batch, tokens, 3 * dim)` of the tokens. What
        it returns, `(batch, tokens, dim)`, is added before `block.proj`.
        """
        return None

    def beside_branch(self, tokens, geometry, training):
        """In parallel to norm2, MLP and drop path, of the tokens, or None.

        What it returns is added to the tokens together with the MLP branch.
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

    def token_scale(self, x):
        """How much each token gets of what `beside_mlp` makes of `x`.

        For people to look at: `(batch, tokens, 1)`, or None if there is no
        such number.
        """
        return None

    def after_mlp(self, x, training):
        """On the MLP branch after drop path, before it joins the residual."""
        return x

    def leave(self, tokens, side, geometry, training):
        """After the last residual. `side` is what `beside_mlp` returned."""
        return tokens

    def fold(self, site, kernel, bias):
        """Kernel and bias of the layer at `site` with the tuner's part in.

        Of a norm, its scale and offset. Arrays; see `PeftMethod.merged`.
        """
        return kernel, bias


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


def see_prefixes(mask, num_prefixes):
    """A mask of queries and keys, with keys in front that all queries see.

    Args:
        mask: boolean `(batch, queries, keys)`.
        num_prefixes: int.

    Returns:
        boolean `(batch, queries, num_prefixes + keys)`.
    """
    if num_prefixes == 0:
        return mask
    blocked = ops.cast(ops.logical_not(mask), "int32")
    return ops.pad(blocked, ((0, 0), (0, 0), (num_prefixes, 0))) == 0


class _NoTuner:
    """A `BlockTuner` without the cost of a layer."""

    def __getattr__(self, name):
        value = getattr(BlockTuner, name)
        return value.__get__(self) if callable(value) else value


NO_TUNER = _NoTuner()


def site_widths(dim, mlp_ratio):
    """Widths of what the layers of a block read and give, by site."""
    hidden = int(dim * mlp_ratio)
    given = {"qkv": (dim, 3 * dim), "fc1": (dim, hidden), "fc2": (hidden, dim)}
    return {site: given.get(site, (dim, dim)) for site in BLOCK_SITES}
