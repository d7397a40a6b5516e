"""The contract between fine-tuning methods and backbones."""

import re

import keras
from keras import ops

from keras_pointpeft.serialization import Configurable

# Where a block can be tuned: after these layers.
BLOCK_SITES = ("norm1", "qkv", "proj", "norm2", "fc1", "fc2")
# What most methods train: what they add, and the class token.
ADDED = r"(^|/)tuner[^/]*/"
CLASS_TOKEN = r"(^|/)class_(tokens|norm)/"
WITH_CLASS_TOKEN = (ADDED, CLASS_TOKEN)
# The patch encoder up to its first maximum, and the position embedding.
FIRST_LAYERS = r"(^|/)patch_encoder[^/]*/(conv[012]|norm[01])/"
POSITION = r"(^|/)position(_\d+)?/"


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


class PeftMethod(Configurable):
    """A fine-tuning method: what it adds to a backbone and what it trains.

    A method knows no backbone. It is a small serializable object that a
    backbone takes as `peft=`. Whatever it adds must live in layers named
    `tuner`, so that the weights of a plain backbone are a subset of those
    of a tuned one.

    Subclasses override what they need:

    * `block_tuner`, `patch_tuner`, `norm_tuner`, `side_tuner`,
      `geometry_tuner`, `prior_tuner`, `cloud_tuner`, `sequence_tuner`: the
      layers it adds;
    * `trained`: which variables train, as regular expressions searched in
      the variable's path, such as `block_3/fc1/bias`;
    * `state`: which variables belong to the method though they do not train,
      likewise;
    * `components`: names for the parts in `peft_summary()`;
    * `position`: `None` leaves the backbone's way of adding position
      embeddings, `"once"` adds them before the first block only, `"last"`
      adds them to as many tokens at the end of the sequence;
    * `pooling`: which tokens the head reads, or None for the backbone's own;
    * `pools_prompts`: whether segmentation pools prompts with the patches;
    * `frozen_bn`: `"inference"` if a frozen BatchNorm keeps to its moving
      statistics in training, `"track"` if it uses, and follows, the batch's.
    """

    trained = (ADDED,)
    state = ()
    components = {}
    position = None
    pooling = None
    pools_prompts = False
    frozen_bn = "inference"
    # Whether it trains so much of the backbone that no base is left.
    replaces_base = False

    def patch_tuner(self, dim, **kwargs):
        """A layer on the patch tokens `(batch, groups, dim)`, or None."""
        return None

    def block_tuner(self, index, depth, dim, num_class_tokens, **kwargs):
        """The `BlockTuner` of block `index` of `depth`, or None.

        If there is a `geometry_tuner` or else a `sequence_tuner`, it is passed
        as `shared`, and with it the block's `drop_path_rate`.
        """
        return None

    def cloud_tuner(self, num_groups, group_size, skip_origin, **kwargs):
        """A layer on the cloud before it is cut into patches, or None.

        It is called with the points `(batch, points, 3)` and returns a dict
        of `"points"`, `(batch, other points, 3)`, which are cut instead, and
        of further tensors. With these, as keywords, the `geometry_tuner` is
        called. `num_groups` and `group_size` are those of the patches.
        """
        return None

    def more_patches(self, num_groups, group_size):
        """Sizes, `(groups, points)`, of further patches for the sequence.

        `num_groups` and `group_size` are those of the backbone's own patches.
        The backbone's layers make tokens and positions of the further ones
        too; the `sequence_tuner` gets them.
        """
        return ()

    def sequence_tuner(self, dim, num_class_tokens, blocks, **kwargs):
        """A layer on the sequence and its positions, or None.

        It is called before positions are added for the block that its
        attribute `before_block` says, one of the range `blocks`, with tokens
        and positions, `(batch, tokens, dim)` each, and a list of pairs of
        the same for `more_patches`, and returns tokens and positions. What it
        inserts belongs behind the class tokens. It may also hold what all
        block tuners share.
        """
        return None

    def passing_tuners(self, dim, blocks, **kwargs):
        """Layers that make prompts for one block each, and their position.

        Returns:
            A dict from the number of a block, one of the range `blocks`, to a
            layer that makes of patch tokens and positions,
            `(batch, groups, dim)` each, prompts `(batch, prompts, dim)`, and
            a layer from prompts to their positions. The prompts stand behind
            the class tokens and leave after the block.
        """
        return {}, None

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
        joins the `geometry` that tuners get. `"coordinates"` among them,
        `(batch, n, 3)`, are embedded as centres are, into
        `"coordinate_positions"`; `"summary"`, `(batch, n, dim)`, joins the
        backbone's outputs as prompt tokens. It may also hold what all block
        tuners share: they get it as `shared`. `neighborhoods` says, where the
        backbone itself has an answer, how many neighbourhoods of patches
        there are and how many patches are in each.
        """
        return None

    def for_stage(self, stage, num_stages, first_block=0):
        """The method as it works in one stage of a hierarchical backbone.

        Such a backbone asks the returned method for the tuners of this stage,
        which begins with block `first_block`.
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

    def final_norm(self, norm, tokens, tuner):
        """Applies the final norm, and what the method does about it.

        Args:
            norm: the backbone's last LayerNorm.
            tokens: `(batch, tokens, dim)`.
            tuner: what `norm_tuner` returned.
        """
        normed = norm(tokens)
        return normed if tuner is None else tuner(normed)

    def check(self, backbone):
        """Raises ValueError if the method cannot work yet as it stands."""

    def merged(self, partial=False):
        """The method that is left when its tuners are folded into the base.

        Args:
            partial: bool. Whether something may be left.

        Returns:
            None if nothing is left, else a `PeftMethod`.

        Raises:
            ValueError: if it cannot be folded exactly.
        """
        raise ValueError(
            f"{type(self).__name__} cannot be merged: what it adds is no "
            "linear map behind or beside a layer of the backbone, or depends "
            f"on the cloud. Received: peft={type(self).__name__}"
        )

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


def site_widths(dim, mlp_ratio):
    """Widths of what the layers of a block read and give, by site."""
    hidden = int(dim * mlp_ratio)
    given = {"qkv": (dim, 3 * dim), "fc1": (dim, hidden), "fc2": (hidden, dim)}
    return {site: given.get(site, (dim, dim)) for site in BLOCK_SITES}


def check_sites(sites, allowed=BLOCK_SITES, name="sites"):
    if unknown := sorted(set(sites) - set(allowed)):
        raise ValueError(
            f"`{name}` must be some of {allowed}. Received: {unknown}"
        )
    return tuple(sites)


def check_positive(name, value):
    if not (isinstance(value, int) and value > 0):
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )
    return value


def check_frozen_bn(value):
    if value not in ("inference", "track"):
        raise ValueError(
            "`frozen_bn` must be 'inference' or 'track'. "
            f"Received: frozen_bn={value!r}"
        )
    return value
