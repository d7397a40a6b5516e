"""The contract between a transformer block and a fine-tuning method."""

from typing import Callable
from typing import NamedTuple

import keras
from keras import ops

# The layers of a block that can be tuned.
BLOCK_SITES = ("norm1", "qkv", "proj", "norm2", "fc1", "fc2")


class Watch:
    """What `Watched.passes` has told, by name."""

    def __init__(self):
        self.gates = {}


class Watched:
    """What tells which of its parts let something through."""

    # A `Watch` while somebody looks, see `TransformerBlock.watched`.
    watch = None

    def passes(self, name, x):
        """Tells who watches that a part of the tuner passes `x`; returns it.

        `x` is what the part adds to the tokens, `(batch, tokens, width)`, or
        a weight of any shape that this is multiplied by. A part that passes
        nothing but 0 is shut.
        """
        if self.watch is not None:
            self.watch.gates[name] = x
        return x


class BlockTuner(Watched, keras.layers.Layer):
    """What a method does inside one transformer block: seven hooks.

    Each is a no-op here; a method overrides what it needs. Tokens are
    `(batch, tokens, dim)`. `geometry` is a dict of what the tuner `needs` to
    know of the clouds, and nothing else.

    What is no act but a fact is an attribute:

    * `needs`: tuple of strings, the names of what it reads of `geometry`:
      `"centers"`, or what the method's `geometry_tuner`, `prior_tuner`,
      `cloud_tuner` or `token_tuner` gives;
    * `tokens_added`: int, how many tokens longer the sequence is after the
      block than before it;
    * `mlp_reads`: `"normalized"` tokens, or `"tokens"` as they are before
      the MLP's norm, which then serves what is beside the MLP alone;
    * `drops_attention`: bool, whether stochastic depth acts on the attention
      branch too;
    * `unmasked`: which tokens an attention mask of fewer tokens leaves out,
      those in `"front"` or at the `"back"`: they see and are seen by all;
    * `token_scale`: None, or a method from what `beside("mlp", ...)` reads to
      `(batch, tokens, 1)`, how much each token gets of what it returns. For
      people to look at: see `TransformerBlock.watched`.

    What else stands before what the tuner adds, a hook tells with `passes`.

    Args:
        shared: optional layer. What all blocks share; it belongs to no single
            one and is not saved with any.
        drop_path_rate: float. Stochastic depth of the block.

    Example:
    ```python
    class Shift(keras_pointpeft.peft.BlockTuner):
        def build(self, tokens_shape):
            self.vector = self.add_weight((tokens_shape[-1],), "zeros")

        def after(self, place, x, training):
            return x + self.vector if place == "mlp" else x

    block = keras_pointpeft.layers.TransformerBlock(
        96, num_heads=6, tuner=Shift(name="tuner")
    )
    tokens = block(np.random.rand(2, 32, 96))
    ```
    """

    needs = ()
    tokens_added = 0
    mlp_reads = "normalized"
    drops_attention = True
    unmasked = "front"
    token_scale = None

    def __init__(self, shared=None, drop_path_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.drop_path_rate = drop_path_rate
        # In a function, so that Keras does not save it with every block.
        self._shared = lambda: shared

    @property
    def acts_after(self):
        """Whether its `after` may change anything."""
        return type(self).after is not BlockTuner.after

    @property
    def shared(self):
        """What all blocks share, or None."""
        return self._shared()

    def enter(self, tokens, geometry, training):
        """Before the first norm: prompts in."""
        return tokens

    def affine(self, site):
        """A scale, which may be None, and a shift, `(width,)` each, or None.

        Applied behind the layer at `site`, one of `BLOCK_SITES`; behind fc1
        before GELU. A norm takes them in, so that they cost nothing.
        """
        return None

    def beside(self, place, x, geometry, training):
        """What is added to what `place` makes of `x`; None for nothing.

        * qkv, proj, fc1 (before GELU), fc2: `x` is what the layer reads.
        * attention: `x` is an `Attention`; what is returned,
          `(batch, tokens, heads, width)`, is added before the projection.
        * attended: `x` is an `Attended`; added to what the attention made,
          behind its projection and before drop path.
        * mlp: `x` are the normalized tokens; added before drop path, and
          given to `leave`.
        * branch: `x` are the tokens before norm2; added to them together with
          the MLP branch.
        """
        return None

    def after(self, place, x, training):
        """`x` changed, behind `place`.

        A place is norm1, qkv, proj, norm2 or fc2, behind `affine`; or mlp,
        the MLP branch behind drop path, before it joins the residual.
        """
        return x

    def prefix(self):
        """Keys and values in front of those of the tokens, or None.

        Each is `(prefixes, dim)`; all tokens see them.
        """
        return None

    def leave(self, tokens, side, geometry, training):
        """After the last residual: prompts out, and what follows the block.

        `side` is what `beside("mlp", ...)` returned.
        """
        return tokens

    def fold(self, site, kernel, bias):
        """Kernel and bias of the layer at `site` with the tuner's part in.

        Of a norm, its scale and offset. Arrays; see `PeftMethod.merged`.
        """
        return kernel, bias


class Attention(NamedTuple):
    """What a tuner gets to know of an attention that it stands beside.

    Attributes:
        qkv: `(batch, tokens, 3 * dim)`, of the tokens.
        split: function from such a tensor to queries, keys and values,
            `(batch, tokens, heads, width)` each.
        project: function from other tokens, `(batch, others, dim)`, to what
            the block's own layer makes of them, `(batch, others, 3 * dim)`.
    """

    qkv: object
    split: Callable
    project: Callable


class Attended(NamedTuple):
    """What a tuner gets to know where an attention has done its work.

    Attributes:
        tokens: `(batch, tokens, dim)`, normalized, as the attention read them.
        found: likewise, what it made of them, behind its projection.
    """

    tokens: object
    found: object


class _NoTuner:
    """A `BlockTuner` without the cost of a layer."""

    acts_after = False

    def __getattr__(self, name):
        value = getattr(BlockTuner, name)
        return value.__get__(self) if callable(value) else value


NO_TUNER = _NoTuner()


def allow_others(mask, num_tokens, others="front"):
    """A mask of `num_tokens` tokens, of which the additional are unmasked.

    Args:
        mask: boolean `(batch, tokens, tokens)`.
        num_tokens: int. At least `tokens`.
        others: where the additional tokens stand, in `"front"` of those that
            the mask knows or at the `"back"`.

    Returns:
        boolean `(batch, num_tokens, num_tokens)`.
    """
    added = num_tokens - mask.shape[-1]
    if added == 0:
        return mask
    blocked = ops.cast(ops.logical_not(mask), "int32")
    added = (added, 0) if others == "front" else (0, added)
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


def site_widths(dim, mlp_ratio):
    """Widths of what the layers of a block read and give, by site."""
    hidden = int(dim * mlp_ratio)
    given = {"qkv": (dim, 3 * dim), "fc1": (dim, hidden), "fc2": (hidden, dim)}
    return {site: given.get(site, (dim, dim)) for site in BLOCK_SITES}
