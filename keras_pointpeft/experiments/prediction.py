"""What a model takes files for, as a record and as a table."""

import csv
from dataclasses import dataclass

import numpy as np

from keras_pointpeft.data.beside import WIDTHS
from keras_pointpeft.files.whole import whole_file


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model takes a file for.

    Attributes:
        path: string, the file.
        label: int, the class; None where points have labels.
        name: string, the class's name; of points, of most of them.
        confidence: float, the probability that the model gives it; of points,
            the share of them that it is of.
        votes: int, how many of the passes chose it.
        scores: array `(classes,)`, all probabilities; of points, the share of
            the points that each class got.
        labels: int array `(points,)`, of the file's points, or None.
        written: string, the file with these labels, or None.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft.experiments import Prediction

    scores = np.array([0.2, 0.8])
    found = Prediction("a.npy", 1, "chair", 0.8, votes=1, scores=scores)
    print(found.path, found.name, found.confidence)
    ```
    """

    path: str
    label: int | None
    name: str
    confidence: float
    votes: int
    scores: np.ndarray
    labels: np.ndarray | None = None
    written: str | None = None


def class_names(model):
    """Names of the classes of a task; numbers where nobody has told them."""
    contract = model.contract
    names = contract.class_names
    if hasattr(model, "predict_room") or hasattr(model, "predict_parts"):
        names = contract.part_names
    if names is None or len(names) != model.num_classes:
        names = [str(label) for label in range(model.num_classes)]
    return tuple(names)


def write_table(found, names, output, votes=1):
    """Writes predictions as CSV: file, class, confidence, votes, and all.

    Args:
        found: list of `Prediction`.
        names: tuple of strings, the classes.
        output: path of the file.
        votes: int, how many passes there were.
    """
    of_points = any(row.labels is not None for row in found)
    columns = ["file", "class", "confidence", "votes", "passes"]
    shares = "share of points" if of_points else "probability"
    columns += [f"{shares}: {name}" for name in names]
    with whole_file(output) as place:
        with open(place, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in found:
                writer.writerow(
                    [
                        row.path,
                        row.name,
                        f"{row.confidence:.4f}",
                        row.votes,
                        votes,
                        *(f"{score:.4f}" for score in row.scores),
                    ]
                )


def check_channels(model):
    """Raises `ValueError` if nobody knows which channels a model takes."""
    count = model.backbone.input.shape[-1] - 3
    names = model.contract.channels or ()
    known = sum(WIDTHS[name] for name in names)
    if known != count:
        raise ValueError(
            f"The model takes {count} channels beside the coordinates, and "
            "its contract must say which: `model.contract = "
            'model.contract.told(channels=("colors",))`. '
            f"Received: channels={names}"
        )


def with_channels(model, content, to="y"):
    """Coordinates of a file, with the channels that a model takes behind.

    Args:
        model: a task; its `contract` says which channels, if any.
        content: `keras_pointpeft.data.formats.content.Content`.
        to: string, the axis that points up for the model; normals are turned.

    Returns:
        array `(points, 3 + channels)`; the coordinates are as in the file.

    Raises:
        ValueError: the file has not these channels.
    """
    contract = model.contract
    if not contract.channels:
        return content.points
    beside = content.channels(
        contract.channels, contract.up_axis, contract.color_range, to
    )
    return np.concatenate([content.points, beside], axis=1)


def finite(cloud, fewest=1):
    """The cloud; raises ValueError for one that cannot be used."""
    if len(cloud) < fewest:
        raise ValueError(f"{len(cloud)} points, fewer than {fewest}")
    wrong = int((~np.isfinite(cloud).all(axis=1)).sum())
    if wrong:
        raise ValueError(f"{wrong} points with NaN or infinity")
    return cloud
