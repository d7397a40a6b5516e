"""Prediction for people: files in, classes or points with labels out."""

import os

import numpy as np
from absl import logging

from keras_pointpeft.data import augmentation as augmentations
from keras_pointpeft.data.checks import UNUSABLE
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.geometry_files import EXTENSIONS
from keras_pointpeft.data.geometry_files import read_content
from keras_pointpeft.experiments import pointwise
from keras_pointpeft.experiments.prediction import Prediction
from keras_pointpeft.experiments.prediction import check_channels
from keras_pointpeft.experiments.prediction import class_names
from keras_pointpeft.experiments.prediction import finite
from keras_pointpeft.experiments.prediction import with_channels
from keras_pointpeft.experiments.prediction import write_table
from keras_pointpeft.files.folders import files_below
from keras_pointpeft.files.progress import Progress
from keras_pointpeft.presets.adapted import from_adapter


def predict_files(
    adapter,
    paths,
    output=None,
    labelled=None,
    votes=1,
    batch_size=None,
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
            written there, in the format they came in, folders as they are.
        votes: int. Passes whose probabilities are averaged. More than one
            draw points anew and augment them as in training. Of points, each
            pass sees them in other company, and most votes win.
        batch_size: optional int. Clouds in a batch, 32 by default; of scenes,
            blocks of columns, which need much more memory, 4.
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
    if batch_size is None:
        batch_size = 4 if hasattr(model, "predict_room") else 32
    if votes < 1 or batch_size < 1:
        raise ValueError(
            "`votes` and `batch_size` must be at least 1. Received: "
            f"votes={votes}, batch_size={batch_size}"
        )
    if output is not None and os.path.isdir(output):
        raise ValueError(
            "`output` is the CSV file to write. Received: the folder "
            f"{os.fspath(output)!r}"
        )
    targets = [None] * len(files)
    if labelled is not None:
        targets = pointwise.targets_of(files, labelled)
    check_channels(model)
    model.make_ready()
    bad = BadClouds(_title(paths), on_bad, len(files))
    if hasattr(model, "predict_room"):
        found = pointwise.scenes(
            model, files, votes, batch_size, targets, bad, seed
        )
    elif hasattr(model, "predict_parts"):
        label = pointwise.category_of(model, category)
        found = pointwise.parts(
            model, files, label, votes, batch_size, targets, bad, seed
        )
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
        for file in files_below(path):
            known = os.path.splitext(file)[1].lower() in EXTENSIONS
            (files if known else others).append(file)
    if not files:
        raise FileNotFoundError(
            f"No files of points were found; they end in one of {EXTENSIONS}. "
            f"Received: {_title(paths)} with {len(others)} other files"
        )
    if others:
        logging.warning(
            "%d other files are left out: %s%s",
            len(others),
            ", ".join(os.path.basename(name) for name in others[:5]),
            " ..." if len(others) > 5 else "",
        )
    return files


def _read(files, bad, model, progress, batch_size):
    """Batches of files and their clouds; bad ones are collected."""
    known = model.contract.stored_points or model.contract.num_points
    # Of a model that says how many it expects, points are repeated.
    fewest = 1 if known else model.fewest_points
    good, clouds = [], []
    for path in files:
        progress.advance(0, os.path.basename(path))
        try:
            columns = model.contract.bin_columns
            content = read_content(path, known, bin_columns=columns)
            cloud = finite(with_channels(model, content), fewest)
        except UNUSABLE as error:
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


def _clouds(model, files, votes, batch_size, bad, seed):
    names, found = class_names(model), []
    contract = model.contract
    augment = augmentations.get(contract.augmentation or "scale_translate")
    with Progress("predicting clouds", len(files)) as progress:
        batches = _read(files, bad, model, progress, batch_size)
        for number, (paths, clouds) in enumerate(batches):
            total, chosen = 0.0, []
            for vote in range(votes):
                points = contract.prepare(clouds, paths, seed + vote)
                if not vote:
                    contract.warn(points)
                if votes > 1:
                    rng = np.random.default_rng((seed, vote, number))
                    points = augmentations.moved(augment, points, rng)
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


def _softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    scores = np.exp(logits)
    return scores / scores.sum(axis=-1, keepdims=True)


def _title(paths):
    if isinstance(paths, (str, os.PathLike)):
        return os.fspath(paths)
    paths = [os.fspath(path) for path in paths]
    return ", ".join(paths[:3]) + (" ..." if len(paths) > 3 else "")
