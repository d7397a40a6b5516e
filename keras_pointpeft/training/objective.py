"""What a task is trained on and measured by; classification."""

import keras

from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.data import train_validation_split
from keras_pointpeft.ops import replicas
from keras_pointpeft.step.losses import SmoothedCrossentropy
from keras_pointpeft.training import voting


class Objective:
    """What `train` asks about a kind of task.

    Args:
        model: the task.

    Attributes:
        figure: string, the figure that epochs are selected by; there is a
            metric of this name.

    Raises:
        ValueError: by `check`, if model and splits do not fit each other.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    objective = training.objective_of(model)
    objective.figure  # "accuracy"
    ```
    """

    figure = "accuracy"

    def __init__(self, model):
        self.model = model

    def check(self, train_split, test_split):
        """Raises ValueError if model and splits do not fit each other."""
        check_names(train_split, test_split)
        classes = self.model.output_shape[-1]
        if classes != train_split.num_classes:
            raise ValueError(
                f"The model has {classes} classes; build it with "
                f"`num_classes={train_split.num_classes}` for this data set. "
                f"Received: {train_split.name} with "
                f"{train_split.num_classes} classes"
            )

    def loss(self, recipe):
        """The loss to compile the model with."""
        return SmoothedCrossentropy(
            recipe.label_smoothing, recipe.class_weights
        )

    def metrics(self):
        """The metrics to compile the model with."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def training_batches(self, split, recipe):
        """The shuffled, augmented batches of a recipe."""
        many = replicas.sharing() > 1 and len(split) > recipe.batch_size
        large = many or len(split) >= 10 * recipe.batch_size
        return PointCloudDataset(
            split,
            batch_size=recipe.batch_size,
            num_points=recipe.num_points,
            sampling=recipe.sampling,
            augmentation=recipe.augmentation,
            shuffle=True,
            # As published, where little is lost; of a small set all counts.
            drop_last=large,
            even=not large,
            balanced=recipe.balanced_sampling,
            seed=recipe.seed,
            **self._targets(split),
        )

    def fixed_batches(self, split, recipe):
        """The split in its own order, without augmentation."""
        return PointCloudDataset(
            split,
            batch_size=recipe.batch_size,
            num_points=recipe.num_points,
            sampling=recipe.evaluation_sampling,
            **self._targets(split),
        )

    def _targets(self, split):
        return {}

    def hold_out(self, split, recipe):
        """Two parts of a training split: to learn from, and to select by."""
        return train_validation_split(
            split, recipe.held_out_fraction, recipe.seed
        )

    def measure(self, split, recipe):
        """The figures on a split, a dict of floats."""
        evaluation = voting.evaluate(
            self.model,
            split,
            recipe.votes,
            recipe.augmentation,
            recipe.batch_size,
            recipe.num_points,
            recipe.evaluation_sampling,
            recipe.sampling,
            recipe.seed,
        )
        return {
            "accuracy": evaluation.accuracy,
            "mean_class_accuracy": evaluation.mean_class_accuracy,
        }


def check_source(train_split, test_split):
    """Raises ValueError if channels do not mean the same in two splits.

    Args:
        train_split: `keras_pointpeft.data.Split`, or a list of rooms.
        test_split: the same.
    """
    splits = [train_split, test_split]
    first = [x[:1] if isinstance(x, list) else [x] for x in splits]
    sources = [x[0].source or {} for x in first if x]
    for name in ("channels", "color_range"):
        found = [x[name] for x in sources if x.get(name) is not None]
        if len(found) == 2 and found[0] != found[1]:
            raise ValueError(
                "What points have beside their place must mean the same in "
                "both splits: load the test split with the `channels` of the "
                'training split, and with `color_range=train.source["color_'
                'range"]` (of scenes, `train[0].source`). '
                f"Received: {name} {found[0]} and {found[1]}"
            )


def check_names(train_split, test_split, what="classes", name="class_names"):
    """Raises ValueError if a label does not mean the same in two splits."""
    ours, theirs = getattr(train_split, name), getattr(test_split, name)
    if ours != theirs:
        raise ValueError(
            f"The two splits must have the same {what} in the same "
            "order; `test.with_classes(train.class_names, "
            "train.part_names)` matches them by name. "
            f"Received: {ours} and {theirs}"
        )
