"""What the models that pre-train a backbone have in common."""

import keras
from keras import ops

from keras_pointpeft.models.saving import Saving
from keras_pointpeft.ops import random
from keras_pointpeft.ops.chamfer import chamfer_distance
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.step.running import Stepping

LOSSES = {"chamfer_l2": "l2", "chamfer_l1": "l1"}


class Pretrainer(Configurable, Saving, Stepping, keras.Model):
    """A model that trains the layers of a backbone in place.

    A subclass tracks those of the backbone's layers that take part; the
    others are neither among its variables nor changed.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone` without `peft`.
        seed: optional int. Seed of the masks.
        dtype: optional dtype or `keras.DTypePolicy`. The backbone's by
            default.
    """

    config_names = ()
    training_only = (
        "mask_ratio",
        "mask_type",
        "num_kept",
        "center_weight",
        "decoder_drop_path_rate",
        "seed",
    )

    def __init__(self, backbone, seed=None, dtype=None, **kwargs):
        dtype = backbone.dtype_policy if dtype is None else dtype
        super().__init__(dtype=dtype, **kwargs)
        if backbone.peft is not None:
            raise ValueError(
                "Pre-training needs a backbone without a fine-tuning method. "
                f"Received: a backbone with peft={backbone.peft!r}"
            )
        # Keras must not track the backbone as a whole: its class tokens, for
        # instance, do not take part.
        object.__setattr__(self, "backbone", backbone)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def drawn_layers(self):
        """The layers that `initialize_backbone` is about."""
        raise NotImplementedError

    def initialize_backbone(self, seed=None):
        """Draws the backbone anew, as the published pre-training starts it.

        Kernels are normal with standard deviation 0.02, biases 0. Not for a
        backbone whose weights are to be trained on.

        Args:
            seed: optional int.
        """
        draw = keras.initializers.RandomNormal
        redraw(self.drawn_layers(), draw, seed, stddev=0.02)

    def get_config(self):
        config = super().get_config()
        config["backbone"] = keras.saving.serialize_keras_object(self.backbone)
        return config

    @classmethod
    def from_config(cls, config):
        config = cls.translated(config)
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


class MaskedPretrainer(Pretrainer):
    """Rebuilds hidden patches; the loss is the chamfer distance.

    Args:
        backbone: see `Pretrainer`.
        num_groups: int. The number of patches that may be hidden.
        mask_ratio: float in `(0, 1)`. Share of them to hide, rounded down.
        loss: `"chamfer_l2"` (squared distances) or `"chamfer_l1"`.
        **kwargs: see `Pretrainer`.
    """

    config_names = ()

    def __init__(self, backbone, num_groups, mask_ratio, loss, **kwargs):
        super().__init__(backbone, **kwargs)
        if loss not in LOSSES:
            raise ValueError(
                f"`loss` must be one of {tuple(LOSSES)}. "
                f"Received: loss={loss!r}"
            )
        self.num_masked = int(mask_ratio * num_groups)
        self.num_visible = num_groups - self.num_masked
        if self.num_masked < 1 or self.num_visible < 1:
            raise ValueError(
                "`mask_ratio` must hide at least one patch and leave one of "
                f"{num_groups}. Received: mask_ratio={mask_ratio}"
            )
        self.mask_ratio = mask_ratio
        self.chamfer = loss

    def draw_mask(self, centers):
        """Draws which patches to hide.

        Args:
            centers: `(batch, groups, 3)`, the patch centres.

        Returns:
            A boolean tensor `(batch, groups)` with `num_masked` true values in
            every row.
        """
        shape = (ops.shape(centers)[0], centers.shape[1])
        return self.hide_lowest(random.uniform(shape, self.seed_generator))

    def hide_lowest(self, values):
        """The mask of the `num_masked` lowest values in each row."""
        rank = ops.argsort(ops.argsort(values, axis=1), axis=1)
        return rank < self.num_masked

    def with_blanks(self, seen):
        """Tokens of visible patches, with mask tokens behind them."""
        seen = ops.cast(seen, self.compute_dtype)
        blanks = ops.broadcast_to(
            ops.cast(self.mask_token, self.compute_dtype),
            (ops.shape(seen)[0], self.num_masked, seen.shape[-1]),
        )
        return ops.concatenate((seen, blanks), axis=1)

    def distance(self, rebuilt, target, weights=None):
        """The chamfer distance of patches `(batch, groups, points, 3)`."""
        return chamfer_distance(
            ops.reshape(rebuilt, (-1, *rebuilt.shape[2:])),
            ops.reshape(target, (-1, *target.shape[2:])),
            norm=LOSSES[self.chamfer],
            weights=weights,
        )

    def get_config(self):
        return {**super().get_config(), "loss": self.chamfer}


def redraw(layers, initializer, seed=None, **kwargs):
    """Draws the kernels of built layers anew and sets their biases to 0.

    For published models that start otherwise than PyTorch's layers, and so
    than `keras_pointpeft.layers.Linear`, do. Nothing but variables named
    `kernel` and `bias` is touched, sub-layers included.

    Args:
        layers: iterable of built layers.
        initializer: class of `keras.initializers` that takes a `seed`.
        seed: optional int.
        **kwargs: further arguments of the initializer.
    """
    # One initializer with an int as seed would draw the same each time.
    draw = initializer(seed=keras.random.SeedGenerator(seed), **kwargs)
    for layer in layers:
        for variable in layer.weights:
            if variable.name == "kernel":
                variable.assign(draw(variable.shape, variable.dtype))
            elif variable.name == "bias":
                variable.assign(ops.zeros(variable.shape, variable.dtype))
