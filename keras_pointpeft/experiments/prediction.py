"""Prediction for people: files in, classes or points with labels out."""

import csv
import os
from dataclasses import dataclass

import numpy as np

from keras_pointpeft.data import augmentation as augmentations
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.geometry_files import EXTENSIONS
from keras_pointpeft.data.geometry_files import read_cloud
from keras_pointpeft.data.geometry_files import read_vertices
from keras_pointpeft.data.labelled_files import write_labels
from keras_pointpeft.files.progress import Progress
from keras_pointpeft.files.whole import whole_file
from keras_pointpeft.presets.adapted import from_adapter


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


def predict_files(
    adapter,
    paths,
    output=None,
    labelled=None,
    votes=1,
    batch_size=32,
    category=None,
    on_bad="raise",
    seed=0,
):
    """Predicts what files of clouds are, or what their points belong to.

    Clouds are prepared as the adapter's training did: as many points, chosen
    and scaled likewise, wherever they lie. Scenes are covered by columns as
    wide as in training, and every point of the file gets a label.

    Args:
        adapter: path of an adapter's directory, `"hf://owner/name"`, or a
            task, such as `from_preset` gives.
        paths: path of a file or folder, or a list of them. Folders are gone
            through; what cannot be read as points is left out and counted.
        output: optional path of a CSV file to write.
        labelled: optional path of a folder. Points with their labels are
            written there, in the format they came in.
        votes: int. Passes whose probabilities are averaged. More than one
            draw points anew and augment them as in training.
        batch_size: int. Clouds in a batch.
        category: optional string, the category of clouds whose parts are
            predicted. Needed where the model has several.
        on_bad: `"raise"`, or `"skip"` to leave out files that cannot be
            used, with a warning that names them.
        seed: int, of all choices.

    Returns:
        list of `Prediction`, in the order of the files.

    Raises:
        FileNotFoundError: if there is no file to predict.
        ValueError: for files that cannot be used, or a model that does not
            fit its adapter.

    Example:

    ```python
    import keras_pointpeft

    for found in keras_pointpeft.predict_files("my_adapter", "new_scans"):
        print(found.path, found.name, found.confidence)
    ```
    """
    model = adapter
    if not hasattr(adapter, "predict_on_batch"):
        with Progress("building the model"):
            model = from_adapter(adapter)
    files = find_files(paths)
    if votes < 1 or batch_size < 1:
        raise ValueError(
            "`votes` and `batch_size` must be at least 1. Received: "
            f"votes={votes}, batch_size={batch_size}"
        )
    model.make_ready()
    bad = BadClouds(_title(paths), on_bad, len(files))
    if hasattr(model, "predict_room"):
        found = _scenes(model, files, votes, batch_size, labelled, bad, seed)
    elif hasattr(model, "predict_parts"):
        label = _category(model, category)
        found = _parts(model, files, label, batch_size, labelled, bad, seed)
    else:
        if labelled is not None:
            raise ValueError(
                "A classifier gives a cloud one class, and its points none. "
                f"Received: labelled={str(labelled)!r} for a "
                f"{type(model).__name__}"
            )
        found = _clouds(model, files, votes, batch_size, bad, seed)
    bad.settle()
    if output is not None:
        write_table(found, class_names(model), output, votes)
    return found


def class_names(model):
    """Names of the classes of a task; numbers where nobody has told them."""
    contract = model.contract
    names = contract.class_names
    if hasattr(model, "predict_room") or hasattr(model, "predict_parts"):
        names = contract.part_names
    if names is None or len(names) != model.num_classes:
        names = [str(label) for label in range(model.num_classes)]
    return tuple(names)


def find_files(paths):
    """Files of points: those that are named, and those in folders.

    Args:
        paths: path, or list of paths.

    Returns:
        list of strings; of a folder, in alphabetical order.

    Raises:
        FileNotFoundError: a path that does not exist, or no file at all.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files, others = [], []
    for path in map(os.fspath, paths):
        if os.path.isfile(path):
            files.append(path)
            continue
        if not os.path.isdir(path):
            raise FileNotFoundError(
                f"There is no such file or folder. Received: {path!r}"
            )
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for name in sorted(n for n in names if not n.startswith(".")):
                known = os.path.splitext(name)[1].lower() in EXTENSIONS
                (files if known else others).append(os.path.join(folder, name))
    if not files:
        raise FileNotFoundError(
            f"No files of points were found; they end in one of {EXTENSIONS}. "
            f"Received: {_title(paths)} with {len(others)} other files"
        )
    if others:
        from absl import logging

        logging.warning(
            "%d other files are left out: %s%s",
            len(others),
            ", ".join(os.path.basename(name) for name in others[:5]),
            " ..." if len(others) > 5 else "",
        )
    return files


def write_table(found, names, output, votes=1):
    """Writes predictions as CSV: file, class, confidence, votes, and all.

    Args:
        found: list of `Prediction`.
        names: tuple of strings, the classes.
        output: path of the file.
        votes: int, how many passes there were.
    """
    output = os.fspath(output)
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
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


def _read(files, bad, num_points, up_axis, progress, batch_size):
    """Batches of files and their clouds; bad ones are collected."""
    good, clouds = [], []
    for path in files:
        progress.advance(0, os.path.basename(path))
        try:
            cloud = _finite(path, read_cloud(path, num_points, up_axis=up_axis))
        except ValueError as error:
            bad.add(path, str(error))
            progress.advance()
            continue
        good.append(path)
        clouds.append(cloud)
        if len(good) == batch_size:
            yield good, clouds
            progress.advance(len(good))
            good, clouds = [], []
    if good:
        yield good, clouds
        progress.advance(len(good))


def _finite(path, cloud):
    wrong = int((~np.isfinite(cloud).all(axis=1)).sum())
    if wrong:
        raise ValueError(f"{wrong} points with NaN or infinity")
    return cloud


def _clouds(model, files, votes, batch_size, bad, seed):
    names, found = class_names(model), []
    contract = model.contract
    augment = augmentations.get(contract.augmentation or "scale_translate")
    drawn = contract.stored_points or contract.num_points
    with Progress("predicting clouds", len(files)) as progress:
        batches = _read(
            files, bad, drawn, contract.up_axis, progress, batch_size
        )
        for number, (paths, clouds) in enumerate(batches):
            total, chosen = 0.0, []
            for vote in range(votes):
                points = contract.prepare(clouds, paths, seed + vote)
                if not vote:
                    contract.warn(points)
                if votes > 1:
                    rng = np.random.default_rng((seed, vote, number))
                    points = np.asarray(augment(points, rng), "float32")
                scores = _softmax(_padded(model, points, batch_size))
                chosen.append(scores.argmax(axis=-1))
                total = total + scores / votes
            for row, path in enumerate(paths):
                label = int(total[row].argmax())
                found.append(
                    Prediction(
                        path,
                        label,
                        names[label],
                        float(total[row, label]),
                        sum(int(c[row] == label) for c in chosen),
                        total[row],
                    )
                )
    return found


def _padded(model, points, batch_size):
    """One shape for all batches: some backends compile anew for each."""
    count = len(points)
    if count < batch_size:
        points = points[np.arange(batch_size) % count]
    return np.asarray(model.predict_on_batch(points), "float32")[:count]


def _scenes(model, files, votes, batch_size, labelled, bad, seed):
    found = []
    with Progress("predicting scenes", len(files)) as progress:
        for path in files:
            progress.advance(0, os.path.basename(path))
            try:
                points = _finite(path, read_vertices(path).points)
            except ValueError as error:
                bad.add(path, str(error))
                continue
            labels = model.predict_room(
                points, votes=votes, batch_size=batch_size, seed=seed
            )
            found.append(_of_points(model, path, labels, votes, labelled))
            progress.advance()
    return found


def _parts(model, files, category, batch_size, labelled, bad, seed):
    """Every point is in one of the blocks that the model sees."""
    contract = model.contract
    size = contract.num_points or 2048
    found = []
    with Progress("predicting parts", len(files)) as progress:
        for path in files:
            progress.advance(0, os.path.basename(path))
            try:
                points = _finite(path, read_vertices(path).points)
            except ValueError as error:
                bad.add(path, str(error))
                continue
            order = np.random.default_rng(seed).permutation(len(points))
            # Each block is a thinned copy of the whole cloud.
            blocks = -(-len(points) // size)
            filled = np.resize(order, blocks * size)
            blocks = filled.reshape(size, blocks).T
            clouds = contract.told(
                stored_points=size, sampling="first"
            ).prepare([points[block] for block in blocks])
            contract.warn(clouds)
            given = np.full(len(clouds), category, "int32")
            parts = model.predict_parts(clouds, given, batch_size)
            labels = np.empty(len(points), "int32")
            labels[blocks.ravel()] = np.ravel(parts)
            found.append(_of_points(model, path, labels, 1, labelled))
            progress.advance()
    return found


def _of_points(model, path, labels, votes, labelled):
    names = class_names(model)
    shares = np.bincount(labels, minlength=len(names)) / len(labels)
    most = int(shares.argmax())
    written = None
    if labelled is not None:
        written = write_labels(path, labels, labelled)
    return Prediction(
        path,
        None,
        names[most],
        float(shares[most]),
        votes,
        shares,
        labels,
        written,
    )


def _category(model, category):
    names = model.contract.class_names
    if names is None:
        names = tuple(str(i) for i in range(model.num_categories))
    if category is None and len(names) == 1:
        return 0
    if str(category) not in names:
        raise ValueError(
            "Parts are predicted of clouds of one category; "
            f"`category` (--category) must be one of {names}. "
            f"Received: category={category!r}"
        )
    return names.index(str(category))


def _softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    scores = np.exp(logits)
    return scores / scores.sum(axis=-1, keepdims=True)


def _title(paths):
    if isinstance(paths, (str, os.PathLike)):
        return os.fspath(paths)
    paths = [os.fspath(path) for path in paths]
    return ", ".join(paths[:3]) + (" ..." if len(paths) > 3 else "")
