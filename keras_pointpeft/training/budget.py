"""How long to train, in updates, and by what to choose an epoch.

What a recipe leaves open depends on the training set: a recipe that is right
for ten thousand clouds makes twenty updates on forty.
"""

import dataclasses
import warnings

import numpy as np

# Updates: fewer than FEW learn little; small sets get ENOUGH.
FEW, ENOUGH = 200, 400
# Held-out clouds: fewer choose an epoch by chance.
HELD_OUT = 100


def suited(recipe, clouds, length=True, batches=True):
    """A recipe for a training set of another size than its own.

    A small set gets smaller batches, so that an epoch has some, and at least
    `ENOUGH` updates.

    Args:
        recipe: `Recipe`.
        clouds: int, how many there are to learn from.
        length: bool. Whether the number of epochs is open.
        batches: bool. Whether the size of batches is open.

    Returns:
        `Recipe`.

    Example:
    ```python
    from keras_pointpeft import training

    recipe = training.Recipe(epochs=15, num_points=512)
    recipe = training.suited(recipe, clouds=40)
    recipe.batch_size  # 8
    ```
    """
    if batches:
        fitting = 2 ** int(np.log2(max(clouds, 16) / 4))
        size = max(8, min(recipe.batch_size, fitting))
        recipe = dataclasses.replace(recipe, batch_size=size)
    if length and recipe.updates is None:
        steps = -(-clouds // recipe.batch_size)
        if steps * recipe.epochs < ENOUGH * recipe.gradient_accumulation:
            recipe = dataclasses.replace(recipe, updates=ENOUGH)
    return recipe


def settled(recipe, model, split):
    """A recipe with all that depends on the training set decided.

    `selection="auto"` becomes `"held_out"` or `"last"`, `updates` a number of
    epochs, and `class_weights="balanced"` numbers. `train` does it.

    Args:
        recipe: `Recipe`.
        model: the task.
        split: the training split, `keras_pointpeft.data.Split` or a list of
            `keras_pointpeft.data.Room`.

    Returns:
        `Recipe`, which stays as it is if it is settled again.

    Raises:
        ValueError: if the recipe asks for what this task has not.
    """
    clouds = size_of(split, recipe)
    held_out = round(recipe.held_out_fraction * clouds)
    held_out = min(held_out, _to_spare(split, clouds))
    if recipe.selection == "auto":
        enough = held_out >= HELD_OUT
        recipe = dataclasses.replace(
            recipe, selection="held_out" if enough else "last"
        )
    if recipe.selection == "held_out":
        clouds -= held_out
    weights = recipe.class_weights
    if isinstance(split, list) or split.part_labels is not None:
        if weights is not None or recipe.balanced_sampling:
            raise ValueError(
                "`class_weights` and `balanced_sampling` of a recipe are of "
                "classes of clouds; a SemanticSegmenter has `class_weights` "
                "of its own. Received: a split with labels of points"
            )
    elif weights is not None:
        weights = _weights(weights, split)
        recipe = dataclasses.replace(recipe, class_weights=weights)
    if recipe.updates is not None:
        steps = -(-clouds // recipe.batch_size)
        steps = max(1, steps // recipe.gradient_accumulation)
        epochs = -(-recipe.updates // steps)
        if epochs != recipe.epochs:
            recipe = recipe.with_epochs(epochs)
    if hasattr(model, "check_batches"):
        model.check_batches(clouds, recipe.batch_size)
    return recipe


def warn_if_short(recipe, steps):
    """Warns of a run that is over before much is learnt.

    Args:
        recipe: `Recipe`, settled.
        steps: int, batches of an epoch.
    """
    updates = recipe.epochs * max(1, steps // recipe.gradient_accumulation)
    if updates < FEW:
        warnings.warn(
            f"This recipe makes {updates} updates ({recipe.epochs} epochs of "
            f"{steps} batches), too few to learn much. Some hundred are "
            f"needed: Recipe(updates={ENOUGH}), --updates={ENOUGH}, more "
            "epochs or smaller batches.",
            stacklevel=3,
        )


def size_of(split, recipe):
    """How many clouds a split has; of rooms, columns."""
    if not isinstance(split, list):
        return len(split)
    points = sum(len(room.points) for room in split)
    return -(-points // (recipe.num_points or 2048))


def _to_spare(split, clouds):
    """How many clouds, or columns, can be held out at most.

    A class keeps its last cloud, and rooms are held out whole: of one alone,
    nothing is.
    """
    if isinstance(split, list):
        return clouds if len(split) > 1 else 0
    return clouds - np.count_nonzero(np.bincount(split.labels))


def _weights(weights, split):
    counts = np.bincount(split.labels, minlength=split.num_classes)
    if weights == "balanced":
        # A class without clouds weighs nothing; the mean over clouds is 1.
        present = counts > 0
        shares = np.where(present, counts.sum() / np.maximum(counts, 1), 0)
        return tuple(float(f"{w:.6g}") for w in shares / present.sum())
    if len(weights) != split.num_classes:
        raise ValueError(
            "`class_weights` must have one number for each of the "
            f"{split.num_classes} classes. Received: {len(weights)}"
        )
    return tuple(weights)
