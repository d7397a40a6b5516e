"""Evaluation of classifiers, with and without votes."""

from dataclasses import dataclass

import numpy as np

from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.files.progress import Progress
from keras_pointpeft.training.metrics import confusion_matrix
from keras_pointpeft.training.metrics import mean_class_accuracy
from keras_pointpeft.training.metrics import overall_accuracy
from keras_pointpeft.training.telling import TellBatches


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        accuracy: float, the part of clouds that is right.
        mean_class_accuracy: float, its mean over classes.
        confusion: int array `(classes, classes)`, rows are true classes.
        votes: int, how many passes were averaged.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    test = keras_pointpeft.data.load_shapes(split="test", num_clouds=20)
    found = training.evaluate(model, test)
    print(found.accuracy, found.confusion.shape)
    ```
    """

    accuracy: float
    mean_class_accuracy: float
    confusion: np.ndarray
    votes: int


def vote_logits(
    model,
    split,
    votes: int = 10,
    augmentation="scale_translate",
    batch_size: int = 32,
    num_points: int | None = None,
    sampling: str = "fps_then_random",
    seed: int = 0,
) -> np.ndarray:
    """Averages a model's logits over augmented copies of each cloud.

    The "voting" of the published tables: every pass draws the points of a
    cloud anew and augments them as in training.

    Args:
        model: a classifier that returns logits.
        split: `keras_pointpeft.data.Split` or array `(clouds, points, 3)`.
        votes: int. Number of passes.
        augmentation: what `keras_pointpeft.data.augmentation.get` takes.
        batch_size: int. Clouds in a batch.
        num_points: int or None. Points of a cloud; None for all.
        sampling: string. How they are chosen.
        seed: int. Of the passes.

    Returns:
        float32 array `(clouds, classes)`.

    Raises:
        ValueError: if `votes` is less than 1.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    test = keras_pointpeft.data.load_shapes(split="test", num_clouds=20)
    logits = training.vote_logits(model, test, votes=2)  # (20, classes)
    ```
    """
    if votes < 1:
        raise ValueError(f"`votes` must be at least 1. Received: votes={votes}")
    batches = PointCloudDataset(
        split,
        batch_size=batch_size,
        num_points=num_points,
        sampling=sampling,
        augmentation=augmentation,
        seed=seed,
    )
    total = 0.0
    for vote in range(votes):
        batches.epoch = vote  # other random numbers in every pass
        what = f"measuring, vote {vote + 1} of {votes}, batch"
        total = total + np.asarray(_predict(model, batches, what), "float32")
    return total / votes


def _predict(model, batches, what):
    with Progress(what, len(batches)) as told:
        return model.predict(batches, verbose=0, callbacks=[TellBatches(told)])


def evaluate(
    model,
    split,
    votes: int = 1,
    augmentation="scale_translate",
    batch_size: int = 32,
    num_points: int | None = None,
    sampling: str = "fps",
    vote_sampling: str = "fps_then_random",
    seed: int = 0,
) -> Evaluation:
    """Measures a classifier on a split.

    Args:
        model: a classifier that returns logits.
        split: `keras_pointpeft.data.Split`; its classes are matched by name
            with those that the model knows, see its `contract`.
        votes: int. 1 is one pass without augmentation. More is the mean of
            the logits of that many augmented passes, see `vote_logits`.
        augmentation: of the votes.
        batch_size: int. Clouds in a batch.
        num_points: int or None. Points of a cloud; None for all.
        sampling: string. How they are chosen without votes.
        vote_sampling: string. How they are chosen with votes.
        seed: int. Of the votes.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: if logits are not finite, or the split has a class that
            the model does not know, or more than it has.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    test = keras_pointpeft.data.load_shapes(split="test", num_clouds=20)
    accuracy = training.evaluate(model, test).accuracy
    ```
    """
    contract = getattr(model, "contract", None)
    if contract is not None and contract.class_names:
        split = split.with_classes(contract.class_names)
    if votes == 1:
        batches = PointCloudDataset(
            split,
            batch_size=batch_size,
            num_points=num_points,
            sampling=sampling,
        )
        logits = _predict(model, batches, "measuring, batch")
    else:
        logits = vote_logits(
            model,
            split,
            votes,
            augmentation,
            batch_size,
            num_points,
            vote_sampling,
            seed,
        )
    logits = np.asarray(logits, "float32")
    if not np.isfinite(logits).all():
        bad = ~np.isfinite(logits).all(axis=-1)
        raise ValueError(
            f"The model's logits of {int(bad.sum())} clouds are not finite: "
            "its weights or these clouds hold NaN or infinity. "
            f"Received: {split.name}, first at {int(bad.argmax())}"
        )
    if logits.shape[-1] < split.num_classes:
        raise ValueError(
            f"The model has {logits.shape[-1]} classes, fewer than the "
            f"{split.num_classes} of {split.name}. "
            f"Received: logits of shape {logits.shape}"
        )
    confusion = confusion_matrix(
        split.labels, logits.argmax(axis=-1), logits.shape[-1]
    )
    return Evaluation(
        accuracy=overall_accuracy(confusion),
        mean_class_accuracy=mean_class_accuracy(confusion),
        confusion=confusion,
        votes=votes,
    )
