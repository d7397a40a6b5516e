"""Files in, a label for each of their points out."""

import os

import numpy as np

from keras_pointpeft.data.checks import UNUSABLE
from keras_pointpeft.data.clouds import turned
from keras_pointpeft.data.geometry_files import read_vertices
from keras_pointpeft.data.labelled_files import labelled_path
from keras_pointpeft.data.labelled_files import write_labels
from keras_pointpeft.data.rooms import Room
from keras_pointpeft.experiments.prediction import Prediction
from keras_pointpeft.experiments.prediction import class_names
from keras_pointpeft.experiments.prediction import finite
from keras_pointpeft.experiments.prediction import with_channels
from keras_pointpeft.files.progress import Progress


def targets_of(files, labelled):
    """Paths to write labelled points to; subfolders are kept."""
    folders = [os.path.dirname(os.path.abspath(path)) for path in files]
    root = os.path.commonpath(folders)
    targets = [
        labelled_path(
            path, os.path.join(labelled, os.path.relpath(folder, root))
        )
        for path, folder in zip(files, folders)
    ]
    seen = set()
    for target in targets:
        if target in seen:
            twins = [p for p, t in zip(files, targets) if t == target]
            raise ValueError(
                "Points with labels of two files would be written to one, "
                f"{target}; predict them apart. Received: {twins}"
            )
        seen.add(target)
    return targets


def scenes(model, files, votes, batch_size, targets, bad, seed):
    """`Prediction`s of scenes: columns that cover all points are predicted."""

    def labels_of(points):
        places = turned(points[:, :3], model.contract.up_axis, "z")
        room = Room(
            places,
            np.zeros(len(places), "int32"),
            "the scene",
            channels=points[:, 3:] if points.shape[1] > 3 else None,
        )
        return model.predict_room(
            room,
            votes=votes,
            batch_size=batch_size,
            seed=seed,
        )

    what = "predicting scenes"
    return _each(model, files, votes, targets, bad, labels_of, what, "z")


def parts(model, files, category, votes, batch_size, targets, bad, seed):
    """`Prediction`s of parts: a cloud's points are divided into blocks.

    Each block has as many points as the model takes and is spread over the
    whole cloud; of several votes, each divides anew.
    """
    contract = model.contract
    size = contract.num_points or 2048
    expected = contract.told(stored_points=size, sampling="first")

    def labels_of(points):
        counts = np.zeros((len(points), model.num_classes), "int32")
        for vote in range(votes):
            rng = np.random.default_rng((seed, vote))
            blocks = _blocks(len(points), size, rng)
            clouds = expected.prepare([points[block] for block in blocks])
            if not vote:
                contract.warn(clouds)
            given = np.full(len(clouds), category, "int32")
            found = model.predict_parts(clouds, given, batch_size)
            np.add.at(counts, (blocks.ravel(), np.ravel(found)), 1)
        return counts.argmax(axis=1).astype("int32")

    what = "predicting parts"
    return _each(model, files, votes, targets, bad, labels_of, what)


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


def _each(model, files, votes, targets, bad, labels_of, what, up="y"):
    """File by file; what cannot be read is collected in `bad`."""
    columns = model.contract.bin_columns
    found = []
    with Progress(what, len(files)) as progress:
        for path, target in zip(files, targets):
            progress.advance(0, os.path.basename(path))
            try:
                # All points of the file, in its order.
                content = read_vertices(path, bin_columns=columns)
                points = finite(with_channels(model, content, up))
            except UNUSABLE as error:
                bad.add(path, str(error))
            else:
                labels = labels_of(points)
                found.append(_of_points(model, path, labels, votes, target))
            progress.advance()
    return found


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
        columns = model.contract.bin_columns
        written = write_labels(path, labels, os.path.dirname(target), columns)
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
