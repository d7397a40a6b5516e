"""Files in, a label for each of their points out."""

import os

import numpy as np

from keras_pointpeft.data.coordinates import turned
from keras_pointpeft.data.geometry_files import read_vertices
from keras_pointpeft.data.labelled_files import labelled_path
from keras_pointpeft.data.labelled_files import write_labels
from keras_pointpeft.experiments.prediction import Prediction
from keras_pointpeft.experiments.prediction import class_names
from keras_pointpeft.experiments.prediction import finite
from keras_pointpeft.files.progress import Progress


def targets_of(files, labelled):
    """Where points with labels go: folders within each other stay so."""
    folders = [os.path.dirname(os.path.abspath(path)) for path in files]
    root = os.path.commonpath(folders)
    targets = [
        labelled_path(
            path, os.path.join(labelled, os.path.relpath(folder, root))
        )
        for path, folder in zip(files, folders)
    ]
    for number, target in enumerate(targets):
        if target in targets[:number]:
            twins = [p for p, t in zip(files, targets) if t == target]
            raise ValueError(
                "Points with labels of two files would be written to one, "
                f"{target}; predict them apart. Received: {twins}"
            )
    return targets


def scenes(model, files, votes, batch_size, targets, bad, seed):
    """Every point of a scene is in some of its columns."""
    found = []
    with Progress("predicting scenes", len(files)) as progress:
        for path, target in zip(files, targets):
            progress.advance(0, os.path.basename(path))
            try:
                points = _points(model, path)
            except ValueError as error:
                bad.add(path, str(error))
                progress.advance()
                continue
            labels = model.predict_room(
                turned(points, model.contract.up_axis, "z"),
                votes=votes,
                batch_size=batch_size,
                seed=seed,
            )
            found.append(_of_points(model, path, labels, votes, target))
            progress.advance()
    return found


def parts(model, files, category, votes, batch_size, targets, bad, seed):
    """Every point is in one of the blocks that the model sees."""
    contract = model.contract
    size = contract.num_points or 2048
    expected = contract.told(stored_points=size, sampling="first")
    found = []
    with Progress("predicting parts", len(files)) as progress:
        for path, target in zip(files, targets):
            progress.advance(0, os.path.basename(path))
            try:
                points = _points(model, path)
            except ValueError as error:
                bad.add(path, str(error))
                progress.advance()
                continue
            counts = np.zeros((len(points), model.num_classes), "int32")
            for vote in range(votes):
                rng = np.random.default_rng((seed, vote))
                # Each block is a thinned copy of the whole cloud.
                blocks = _blocks(len(points), size, rng)
                clouds = expected.prepare([points[block] for block in blocks])
                if not vote:
                    contract.warn(clouds)
                given = np.full(len(clouds), category, "int32")
                found_parts = model.predict_parts(clouds, given, batch_size)
                np.add.at(counts, (blocks.ravel(), np.ravel(found_parts)), 1)
            labels = counts.argmax(axis=1).astype("int32")
            found.append(_of_points(model, path, labels, votes, target))
            progress.advance()
    return found


def category_of(model, category):
    """The number of a category that a user names."""
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


def _points(model, path):
    """All points of a file, in its order."""
    columns = model.contract.bin_columns
    return finite(read_vertices(path, bin_columns=columns).points)


def _blocks(count, size, rng):
    """Numbers of all points, `(blocks, size)`, some of them repeated."""
    blocks = -(-count // size)
    filled = np.resize(rng.permutation(count), blocks * size)
    return filled.reshape(size, blocks).T


def _of_points(model, path, labels, votes, target):
    names = class_names(model)
    shares = np.bincount(labels, minlength=len(names)) / len(labels)
    most = int(shares.argmax())
    written = None
    if target is not None:
        written = write_labels(path, labels, os.path.dirname(target))
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
