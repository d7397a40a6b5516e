"""The contract between fine-tuning methods and backbones."""

import re

from keras_pointpeft.layers.tuner import BLOCK_SITES
from keras_pointpeft.serialization import Configurable

# What most methods train: what they add, and the class token.
ADDED = r"(^|/)tuner[^/]*/"
CLASS_TOKEN = r"(^|/)class_(tokens|norm)/"
WITH_CLASS_TOKEN = (ADDED, CLASS_TOKEN)
# The patch encoder up to its first maximum, and the position embedding.
FIRST_LAYERS = r"(^|/)patch_encoder[^/]*/(conv[012]|norm[01])/"
POSITION = r"(^|/)position(_\d+)?/"


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
