"""The contract between fine-tuning methods and backbones."""

import dataclasses
import re

from keras_pointpeft.layers.tuner import BLOCK_SITES
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import positive_integer

# Whatever a method adds to a backbone lives under this name.
ADDED = r"(^|/)tuner[^/]*/"
# What most methods train: what they add, and the class token.
CLASS_TOKEN = r"(^|/)class_(tokens|norm)/"
WITH_CLASS_TOKEN = (ADDED, CLASS_TOKEN)
# What points have beside their place starts at nothing, under every method.
CHANNELS = r"(^|/)tuner_channels/"
# The patch encoder up to its first maximum, and the position embedding.
FIRST_LAYERS = r"(^|/)patch_encoder[^/]*/(conv[012]|norm[01])/"
POSITION = r"(^|/)position(_\d+)?/"


@dataclasses.dataclass(frozen=True)
class Where:
    """Where in a backbone a layer of a method is to stand.

    Args:
        dim: int. Width of the tokens there.
        name: string, the layer's name.
        dtype: the layer's dtype policy.
        index: int. The number of the block.
        depth: int. How many blocks the backbone has.
        blocks: range. The blocks of this stage; all, if there is but one.
        num_class_tokens: int. How many tokens stand before the patches.
        mlp_ratio: float. Width of the block's MLP over `dim`.
        drop_path_rate: float. Stochastic depth of the block.
        num_groups: int. How many patches the stage has.
        group_size: int. How many points, or tokens of the stage before, make
            a patch.
        skip_origin: bool. See `keras_pointpeft.ops.farthest_point_sample`.
        next_patches: pair of ints or None: number and size of the next
            stage's patches, where they are known.
        stage: int. The number of the stage.
        num_stages: int. How many there are.
        generates: bool. Whether a generation branch stands behind the blocks.
        view: where a `view_tuner` is made, a function: what the backbone
            makes of some of its patches. Tokens and positions of these,
            `(batch, patches, dim)` each, and whether it is in training give
            the final tokens, `(batch, class tokens + patches, dim)`.
        shared: the layer that the method's `geometry_tuner`, or else its
            `sequence_tuner`, has returned; None in other places than blocks.

    Example:
    ```python
    where = keras_pointpeft.peft.Where(dim=96, index=3, depth=12)
    tuner = keras_pointpeft.peft.LoRA(rank=4).block_tuner(where)
    ```
    """

    dim: int
    name: str = "tuner"
    dtype: object = None
    index: int = 0
    depth: int = 1
    blocks: range = range(1)
    num_class_tokens: int = 1
    mlp_ratio: float = 4.0
    drop_path_rate: float = 0.0
    num_groups: int = 64
    group_size: int = 32
    skip_origin: bool = False
    next_patches: tuple = (None, None)
    stage: int = 0
    num_stages: int = 1
    generates: bool = False
    view: object = None
    shared: object = None

    @property
    def layer(self):
        """The arguments that every layer takes: dtype and name."""
        return {"dtype": self.dtype, "name": self.name}

    @property
    def is_last_stage(self):
        return self.stage == self.num_stages - 1


class PeftMethod(Configurable):
    """A fine-tuning method: what it adds to a backbone and what it trains.

    A method knows no backbone. It is a small serializable object that a
    backbone takes as `peft=`. Whatever it adds must live in layers named
    `tuner`, so that the weights of a plain backbone are a subset of those
    of a tuned one.

    Subclasses override what they need. Each function that returns a layer
    gets one argument, a `Where`, of which `**where.layer` is the layer's name
    and dtype:

    * `block_tuner`, `token_tuner`, `patch_tuner`, `norm_tuner`, `side_tuner`,
      `geometry_tuner`, `prior_tuner`, `cloud_tuner`, `sequence_tuner`,
      `passing_tuners`, `generator_tuner`, `fusion_tuner`, `view_tuner`: the
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
    * `decoder`: the name of the decoder that segmentation has under it, see
      `keras_pointpeft.models.tasks.decoders`, or None for the backbone's own,
      which a hierarchical one always has; `dense_parts`: into how many equal
      parts blocks are then divided, of each of which the last one is read;
    * `replaces_base`: whether it trains so much of the backbone that no base
      is left;
    * `adds_nothing`: whether a model with it computes what one without does,
      from the same weights.

    Args:
        frozen_bn: `"inference"` or `"track"`. What the BatchNorms of the
            backbone's patch encoder do in training: keep to their moving
            statistics, or use and follow those of the batch, as much
            published code does.

    Raises:
        ValueError: for an unknown `frozen_bn`.

    Example:
    ```python
    class Queries(keras_pointpeft.peft.PeftMethod):
        trained = (r"/qkv/",)

    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=2, peft=Queries()
    )
    model = keras_pointpeft.models.PointCloudClassifier(backbone, 2)
    ```
    """

    config_names = ()
    trained = (ADDED,)
    state = ()
    components = {}
    position = None
    pooling = None
    pools_prompts = False
    decoder = None
    dense_parts = 3
    frozen_bn = "inference"
    replaces_base = False
    adds_nothing = False

    def __init__(self, frozen_bn="inference"):
        if frozen_bn not in ("inference", "track"):
            raise ValueError(
                "`frozen_bn` must be 'inference' or 'track'. "
                f"Received: frozen_bn={frozen_bn!r}"
            )
        self.frozen_bn = frozen_bn

    def cloud_tuner(self, where):
        """A layer on the cloud before it is cut into patches, or None.

        It is called with the points `(batch, points, 3)` and returns a dict
        of `"points"`, `(batch, other points, 3)`, which are cut instead, and
        of further tensors. With these, as keywords, the layer of
        `geometry_tuner` is called.
        """
        return None

    def patch_tuner(self, where):
        """A layer on the patch tokens `(batch, groups, dim)`, or None."""
        return None

    def more_patches(self, where):
        """Sizes, `(groups, points)`, of further patches for the sequence.

        The backbone's layers make tokens and positions of them too; the
        `sequence_tuner` gets these.
        """
        return ()

    def geometry_tuner(self, where):
        """A layer that says, once per cloud, what tuners need to know of it.

        It is called with the points `(batch, points, 3)` and the patches'
        centres `(batch, num_groups, 3)` and returns a dict of tensors; each
        `BlockTuner` gets those that it `needs`. Three names have a meaning:
        `"coordinates"`, `(batch, n, 3)`, are embedded as centres are, into
        `"coordinate_positions"`; `"summary"`, `(batch, n, dim)`, joins the
        backbone's outputs as prompt tokens; `"prompted_centers"`,
        `(batch, num_groups, 3)`, are the points that the layer of the next
        stage is called with. It may also hold what all blocks share: they get
        it as `where.shared`. None for nothing.
        """
        return None

    def prior_tuner(self, where):
        """A layer on what the frozen backbone makes of a cloud, or None.

        It is called with the maximum over the final tokens of the backbone
        without the method, `(batch, dim)`, and returns a dict of tensors,
        which join those of `geometry_tuner`. Its attributes `num_groups` and
        `group_size` say which patches are used; None stands for the
        backbone's own.
        """
        return None

    def sequence_tuner(self, where):
        """A layer on the sequence and its positions, or None.

        It is called before positions are added for the block that its
        attribute `before_block` says, one of `where.blocks`, with tokens and
        positions, `(batch, tokens, dim)` each, and a list of pairs of the
        same for `more_patches`, and returns tokens and positions. What it
        inserts belongs behind the class tokens. It may also hold what all
        blocks share, if there is no `geometry_tuner`.
        """
        return None

    def passing_tuners(self, where):
        """Layers that make prompts for one block each, and their position.

        Returns:
            A dict from the number of a block, one of `where.blocks`, to a
            layer that makes of patch tokens and positions,
            `(batch, groups, dim)` each, prompts `(batch, prompts, dim)`, and
            a layer from prompts to their positions. The prompts stand behind
            the class tokens and leave after the block.
        """
        return {}, None

    def token_tuner(self, where):
        """A layer on the tokens as they come to a block, or None.

        It is called before positions are added, with tokens
        `(batch, tokens, dim)` and a dict of what its attribute `needs` names,
        as a `BlockTuner`'s does, and returns a dict of tensors, which join
        what this block and those behind it know of a cloud. It may also need
        `"positions"`, which are about to be added, and `"positioned"`, the
        tokens with them. It leaves the tokens as they are.
        """
        return None

    def block_tuner(self, where):
        """The `keras_pointpeft.peft.BlockTuner` of a block, or None."""
        return None

    def generator_tuner(self, where):
        """The `BlockTuner` of a block of a generation branch, or None.

        See `keras_pointpeft.models.PointGPTBackbone`. The branch knows of a
        cloud what the blocks of the last stage do; its tokens are a start
        token and the patches but the last.
        """
        return None

    def norm_tuner(self, where):
        """A layer on the tokens behind the final norm, or None.

        If its attribute `reads_tokens` is true, it is called with those
        before the norm as well.
        """
        return None

    def fusion_tuner(self, where):
        """A layer that joins what several blocks have made, or None.

        Its attribute `reads_blocks` says which, some of `where.blocks`. It is
        called with the final patch tokens `(batch, groups, dim)` and a list
        of those after each of these blocks, and returns the former, changed.
        """
        return None

    def side_tuner(self, where):
        """A layer on the final patch tokens and the patches' points, or None.

        It is called with `(batch, groups, dim)` and
        `(batch, groups, points, 3)`.
        """
        return None

    def view_tuner(self, where):
        """A layer that looks at a cloud again, with some patches, or None.

        It is called with the final tokens `(batch, tokens, dim)` and with
        tokens and positions of the patches before the first block,
        `(batch, groups, dim)` each, and returns the first. It has `where.view`
        to make what it compares, and may add to the loss.
        """
        return None

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
        trained = (CHANNELS, *self.trained)
        return any(re.search(pattern, path) for pattern in trained)

    def keeps(self, path):
        """Whether the backbone's variable at `path` is the method's state."""
        return any(re.search(pattern, path) for pattern in self.state)

    def component(self, path):
        """The name of the part that the variable at `path` belongs to."""
        for name, pattern in {"channels": CHANNELS, **self.components}.items():
            if re.search(pattern, path):
                return name
        return "backbone"


def is_added(path):
    """Whether a method has added the variable at a path to the backbone."""
    return re.search(ADDED, path) is not None


def weights_of(model):
    """Path to variable, for all weights but the states of random generators.

    Args:
        model: a built model or layer.

    Returns:
        A dict. Its paths begin at the model, see `paths_of`.
    """
    inside = paths_of(model)
    return {
        inside.get(id(variable), variable.path): variable
        for variable in model.weights
        if "seed_generator" not in variable.path
    }


def paths_of(model, inside=""):
    """Paths, from the model on, of variables whose own begin elsewhere.

    What is made within a `keras.name_scope`, or by a layer of somebody's own
    when it is built, has their names in front of all its paths.

    Args:
        model: a built model.
        inside: string, what is in front of its name in paths of its layers
            and belongs there.

    Returns:
        A dict from the `id` of a variable to its path, where that is another.
    """
    found = {}
    # A model that is no graph of layers names those that it makes after itself.
    own = f"{inside}{model.name}/"
    for layer in getattr(model, "layers", ()):
        front = (layer.path or "").removesuffix(layer.name)
        named = front.endswith(own)
        found.update(paths_of(layer, own if named else ""))
        front = front.removesuffix(own) if named else front
        if front and not hasattr(layer, "layers"):
            for variable in layer.weights:
                if variable.path.startswith(f"{layer.path}/"):
                    found[id(variable)] = variable.path.removeprefix(front)
    return found


def check_sites(sites, allowed=BLOCK_SITES, name="sites", fewest=0):
    if len(sites) < fewest:
        raise ValueError(
            f"`{name}` must name some of {allowed}: at none of them, nothing "
            f"is added. Received: {name}={tuple(sites)!r}"
        )
    if unknown := sorted(set(sites) - set(allowed)):
        raise ValueError(
            f"`{name}` must be some of {allowed}. Received: {unknown}"
        )
    return tuple(sites)


check_positive = positive_integer
