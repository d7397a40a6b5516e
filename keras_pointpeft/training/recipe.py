"""`Recipe`: how a model is trained, evaluated and selected."""

import dataclasses
import difflib
import math

from keras_pointpeft.data import augmentation as augmentations
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.clouds import SAMPLING
from keras_pointpeft.layers.recompute import check_remat
from keras_pointpeft.step.precision import PRECISIONS

SCHEDULES = ("auto", "epoch", "update")
# From so many epochs on, a rate that falls from one to the next is below a
# twentieth of its peak in the last one. In 4 epochs it would end at a half.
LONG = 15
SELECTIONS = ("auto", "held_out", "last", "best_on_test")
# What numbers must be, in words and as a test, and which numbers.
RANGES = (
    (
        "at least 1",
        lambda x: x >= 1,
        ("epochs", "batch_size", "gradient_accumulation", "votes"),
    ),
    (
        "at least 0",
        lambda x: x >= 0,
        ("warmup_epochs", "weight_decay", "warmup_learning_rate")
        + ("min_learning_rate", "column_min_points", "seed"),
    ),
    ("positive", lambda x: x > 0, ("learning_rate", "column_size")),
    ("in (0, 1]", lambda x: 0 < x <= 1, ("column_stride",)),
    ("between 0 and 1", lambda x: 0 < x < 1, ("held_out_fraction",)),
    ("in [0, 1)", lambda x: 0 <= x < 1, ("label_smoothing",)),
    (
        "positive or None",
        lambda x: x is None or x > 0,
        ("num_points", "cosine_epochs", "clip_norm", "updates"),
    ),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained, evaluated and selected.

    The defaults are the published fine-tuning recipe of Point-MAE, DAPT and
    Point-PEFT, with one exception, `selection`.

    Args:
        epochs: int. Number of epochs. (The published loops run one more.)
        batch_size: int. Clouds in a batch.
        learning_rate: float. Peak learning rate.
        weight_decay: float. Decoupled weight decay, on matrices alone.
        beta_1: float. Of AdamW.
        beta_2: float. Of AdamW.
        epsilon: float. Of AdamW.
        warmup_epochs: int or None. Length of the linear warm-up; None for
            the published 10 of 300 epochs, in proportion. As published, the
            first epoch after the start repeats its rate.
        warmup_learning_rate: float. Where the warm-up starts.
        min_learning_rate: float. Where the cosine ends.
        cosine_epochs: int or None. Where the cosine ends, if that is not
            after `epochs`.
        clip_norm: float or None. Bound for the norm of all gradients.
        gradient_accumulation: int. Batches that make one update.
        label_smoothing: float. Probability given to the wrong classes.
        augmentation: `"none"`, `"scale_translate"`, `"rotate"`,
            `"scale_rotate"`, `"jitter"` or `"one_sided"`, with numbers of its
            own `{"name": "scale_translate", "shift": 0.1}`, a list of such,
            or None; see `keras_pointpeft.data.augmentation.get`.
        num_points: int or None. Points of a cloud; None for all.
        sampling: string. How they are chosen in training: `"random"`,
            `"fps"`, `"first"` or `"fps_then_random"`.
        evaluation_sampling: string. How they are chosen in evaluation, one
            of the same.
        selection: string. Which epoch's weights are kept and reported as
            best: `"auto"`, by a held-out part if that has a hundred clouds,
            and else the last, trained on all of them; `"held_out"`, the best
            on a part of the training split; `"last"`; or `"best_on_test"`, the
            best on the test split, which is what most published tables report
            and overstates accuracy.
        held_out_fraction: float. The part held out for `"held_out"`.
        votes: int. Augmented passes whose logits are averaged in the final
            evaluation; 1 for one pass without augmentation.
        double_step: bool. Whether every batch makes two steps, the first
            without clipping, as published segmentation does.
        column_size: float. Width in metres of the columns of a scene.
        column_min_points: int. A column to learn from has more points.
        column_stride: float. Step between columns of a whole scene, as a
            part of their width.
        seed: int. Of everything random.
        dtype: string. The model's dtype policy, such as `"float32"` or
            `"mixed_bfloat16"`.
        precision: `"float32"`, or `"tf32"`: on a GPU, products of float32
            matrices are computed in TF32 while it trains and measures, see
            `keras_pointpeft.step.precision`. A CPU takes no notice, and
            tensorflow uses TF32 of itself. `"mixed_bfloat16"` and
            `"mixed_float16"` are taken as the `dtype`, and a `dtype` of
            `"tf32"` as this.
        remat: string. What the backward pass computes again; see
            `keras_pointpeft.models.PointBackbone.remat`.
        updates: int or None. Steps of the optimizer in place of `epochs`,
            which are then as many as it takes. Small sets need some hundred.
        class_weights: None, `"balanced"` for weights in the loss by which
            all classes count alike, or a sequence of them.
        balanced_sampling: bool. Whether an epoch has as many clouds of each
            class, rarer ones repeatedly.
        schedule: string. When warm-up and cosine move: `"epoch"`, from one
            epoch to the next, as published; `"update"`, at every step of the
            optimizer, so that the rate falls to `min_learning_rate` in however
            few epochs; or `"auto"`, by update in runs of fewer than 15 epochs.
            A run that goes on keeps what it began with. In a run by update
            the averages of every BatchNorm that trains are estimated anew,
            from batches of the training clouds, before an epoch is validated
            and at the end.

    Raises:
        ValueError: for a value out of range, or an unknown name.

    Example:
    ```python
    from keras_pointpeft import training

    preset = keras_pointpeft.presets.resolve("dapt_pointmae_scanobjectnn")
    recipe = training.Recipe.from_dict(
        preset.recipe, num_points=preset.num_points
    )
    ```
    """

    epochs: int = 300
    batch_size: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    warmup_epochs: int | None = None
    warmup_learning_rate: float = 1e-6
    min_learning_rate: float = 1e-6
    cosine_epochs: int | None = None
    clip_norm: float | None = 10.0
    gradient_accumulation: int = 1
    label_smoothing: float = 0.0
    augmentation: str | dict | tuple | None = "scale_translate"
    num_points: int | None = None
    sampling: str = "fps_then_random"
    evaluation_sampling: str = "fps"
    selection: str = "auto"
    held_out_fraction: float = 0.1
    votes: int = 1
    double_step: bool = False
    column_size: float = 1.0
    column_min_points: int = 1024
    column_stride: float = 0.5
    seed: int = 0
    dtype: str = "float32"
    remat: str = "elementwise"
    updates: int | None = None
    class_weights: str | tuple | None = None
    balanced_sampling: bool = False
    precision: str = "float32"
    schedule: str = "auto"

    def __post_init__(self):
        check_remat(self.remat)
        if self.dtype == "tf32":
            object.__setattr__(self, "dtype", "float32")
            object.__setattr__(self, "precision", "tf32")
        if self.precision in ("mixed_bfloat16", "mixed_float16"):
            if self.dtype not in ("float32", self.precision):
                raise ValueError(
                    "`dtype` and `precision` name two policies; give one. "
                    f"Received: dtype={self.dtype!r}, "
                    f"precision={self.precision!r}"
                )
            object.__setattr__(self, "dtype", self.precision)
            object.__setattr__(self, "precision", "float32")
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("schedule", self.schedule, SCHEDULES)
        augmentations.get(self.augmentation)
        check_choice("sampling", self.sampling, SAMPLING)
        check_choice(
            "evaluation_sampling", self.evaluation_sampling, SAMPLING
        )
        if isinstance(self.augmentation, list):
            object.__setattr__(self, "augmentation", tuple(self.augmentation))
        weights = self.class_weights
        if isinstance(weights, (list, tuple)):
            weights = tuple(float(weight) for weight in weights)
            object.__setattr__(self, "class_weights", weights)
        elif weights not in (None, "balanced"):
            raise ValueError(
                "`class_weights` must be None, 'balanced' or numbers, one for "
                f"each class. Received: class_weights={weights!r}"
            )
        if self.warmup_epochs is None:
            warmup = _proportional(10, 300, self.epochs)
            object.__setattr__(self, "warmup_epochs", warmup)
        check_choice("selection", self.selection, SELECTIONS)
        for meaning, holds, names in RANGES:
            for name in names:
                value = getattr(self, name)
                if not holds(value):
                    raise ValueError(
                        f"`{name}` must be {meaning}. "
                        f"Received: {name}={value!r}"
                    )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                "`warmup_epochs` must be less than `epochs`, or the learning "
                "rate never reaches `learning_rate`. Received: "
                f"warmup_epochs={self.warmup_epochs}, epochs={self.epochs}"
            )

    @classmethod
    def from_dict(cls, values: dict, **changes) -> "Recipe":
        """Makes a recipe from a card's dict.

        Args:
            values: dict of arguments; what is left out has its default.
            **changes: arguments that replace those of `values`. Another
                number of `epochs` takes warm-up and cosine along, unless they
                are replaced too.

        Raises:
            ValueError: for an unknown name.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        merged = {**values, **changes}
        unknown = [name for name in merged if name not in known]
        if unknown:
            close = [difflib.get_close_matches(n, known, n=1) for n in unknown]
            hints = sorted({name for found in close for name in found})
            hint = f" Did you mean {', '.join(hints)}?" if hints else ""
            raise ValueError(
                f"A recipe does not have these names.{hint} Received: {unknown}"
            )
        lengths = {"warmup_epochs", "cosine_epochs"} & set(changes)
        if lengths or "epochs" not in changes:
            return cls(**merged)
        recipe = cls(**{**merged, "epochs": values.get("epochs", cls.epochs)})
        if recipe.epochs != changes["epochs"]:
            recipe = recipe.with_epochs(changes["epochs"])
        return recipe

    @property
    def moves_by(self) -> str:
        """`"epoch"` or `"update"`, what `schedule` comes to."""
        if self.schedule != "auto":
            return self.schedule
        return "update" if self.epochs < LONG else "epoch"

    def to_dict(self) -> dict:
        """The recipe as a dict of plain values."""
        return dataclasses.asdict(self)

    def with_epochs(self, epochs: int) -> "Recipe":
        """The same recipe over another number of epochs.

        The cosine and the warm-up are stretched or shortened with it; the
        warm-up stays less than half of the epochs.
        """
        warmup = _proportional(self.warmup_epochs, self.epochs, epochs)
        cosine = self.cosine_epochs
        if cosine is not None:
            cosine = max(1, round(cosine * epochs / self.epochs))
        return dataclasses.replace(
            self, epochs=epochs, warmup_epochs=warmup, cosine_epochs=cosine
        )


def _proportional(warmup, epochs, others):
    """A warm-up for another number of epochs, of less than half of them."""
    return min(math.ceil(warmup * others / epochs), max(others // 2 - 1, 0))
