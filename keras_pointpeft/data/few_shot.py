"""Few-shot episodes: the official ones of ModelNet40, and own ones."""

import dataclasses
import os

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import existing_file
from keras_pointpeft.data.checks import usable_clouds
from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.clouds import to_float32
from keras_pointpeft.data.normalization import unit_sphere
from keras_pointpeft.data.restricted_pickle import load_arrays
from keras_pointpeft.data.splits import Split
from keras_pointpeft.files.progress import telling


@telling("reading clouds")
def load_few_shot(
    data_dir,
    ways: int = 5,
    shots: int = 10,
    fold: int = 0,
    normalize: bool = True,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
) -> tuple[Split, Split]:
    """Loads an official few-shot episode of ModelNet40.

    `<data_dir>/<ways>way_<shots>shot/<fold>.pkl`, as published with
    [Point-BERT](https://arxiv.org/abs/2111.14819): a dict with "train" and
    "test", lists of `(points, label, class)`. The results that papers report
    are means over folds 0 to 9 of 5 and 10 ways, 10 and 20 shots. The pickle
    is read without running anything that it holds.

    Args:
        data_dir: string, the folder `ModelNetFewshot`, or the one around it.
        ways, shots, fold: ints.
        normalize: bool, centre and scale to the unit sphere, as published.
        on_bad: "raise", or "skip" to leave out unusable clouds.
        max_bytes: int, the largest file that is read.

    Returns:
        `(train, test)`, two `Split`s with labels 0 to `ways` - 1.

    Raises:
        FileNotFoundError: names the file that was expected.
        pickle.UnpicklingError: a file that holds more than arrays.
        ValueError: a wrong content.

    Example:

    ```python
    import keras_pointpeft

    train, test = keras_pointpeft.data.load_few_shot(
        "ModelNetFewshot", ways=5, shots=10, fold=0
    )
    ```
    """
    name = os.path.join(f"{ways}way_{shots}shot", f"{fold}.pkl")
    path = existing_file(
        [
            os.path.join(data_dir, name),
            os.path.join(data_dir, "ModelNetFewshot", name),
        ],
        f"the few-shot episode {fold} of {ways} ways and {shots} shots",
    )
    content = load_arrays(path, max_bytes)
    if not isinstance(content, dict) or not {"train", "test"} <= set(content):
        found = sorted(content) if isinstance(content, dict) else type(content)
        raise ValueError(
            f'{path} must hold a dict with "train" and "test". '
            f"Received: {found}"
        )
    return tuple(
        _episode_split(path, part, content[part], ways, normalize, on_bad)
        for part in ("train", "test")
    )


def sample_episode(
    split: Split,
    ways: int,
    shots: int,
    queries: int = 20,
    seed: int = 0,
    test: Split | None = None,
) -> tuple[Split, Split]:
    """Draws a few-shot episode from a labelled split.

    Args:
        split: `Split` that the shots are drawn from.
        ways: int, classes; drawn from those with enough clouds.
        shots: int, clouds of each class to learn from.
        queries: int, clouds of each class to test on. Defaults to 20.
        seed: int. An episode depends on it alone.
        test: `Split` with the same classes that the queries are drawn from.
            Defaults to None: `split`, without the shots.

    Returns:
        `(support, query)`, two `Split`s with labels 0 to `ways` - 1.

    Raises:
        ValueError: fewer than `ways` classes have enough clouds.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import Split
    from keras_pointpeft.data import sample_episode

    split = Split(
        np.zeros((90, 64, 3), "float32"), np.arange(90) % 3, ("a", "b", "c")
    )
    support, query = sample_episode(split, ways=2, shots=5, queries=10)
    len(support), len(query)  # 10, 20
    ```
    """
    source = split if test is None else test
    if source.class_names != split.class_names:
        raise ValueError(
            "`test` must have the classes of `split`. "
            f"Received: {source.class_names[:10]}"
        )
    counts = np.bincount(split.labels, minlength=split.num_classes)
    if test is None:
        enough = counts >= shots + queries
    else:
        others = np.bincount(test.labels, minlength=test.num_classes)
        enough = (counts >= shots) & (others >= queries)
    if min(ways, shots, queries) < 1 or enough.sum() < ways:
        raise ValueError(
            f"{int(enough.sum())} classes of {split.name} have {shots} shots "
            f"and {queries} queries. "
            f"Received: ways={ways}, shots={shots}, queries={queries}"
        )
    rng = np.random.default_rng(seed)
    classes = rng.choice(np.flatnonzero(enough), ways, replace=False)
    support, query = [], []
    for label in classes:
        members = rng.permutation(np.flatnonzero(split.labels == label))
        support.append(members[:shots])
        rest = members[shots:]
        if test is not None:
            rest = rng.permutation(np.flatnonzero(test.labels == label))
        query.append(rest[:queries])
    title = f"{split.name} {ways}way_{shots}shot/{seed}"
    return (
        _renamed(split.take(np.concatenate(support)), classes, title),
        _renamed(source.take(np.concatenate(query)), classes, f"{title} query"),
    )


def _renamed(split, classes, name):
    labels = np.empty(split.num_classes, "int32")
    labels[classes] = np.arange(len(classes))
    return dataclasses.replace(
        split,
        labels=labels[split.labels],
        class_names=tuple(split.class_names[c] for c in classes),
        name=name,
    )


def _episode_split(path, part, entries, ways, normalize, on_bad):
    if not isinstance(entries, (list, tuple)):
        raise ValueError(
            f"{path} ({part}) must be a list of (points, label, class). "
            f"Received: {type(entries).__name__}"
        )
    bad = BadClouds(f"{path} ({part})", on_bad, len(entries))
    clouds, labels, ids, names = [], [], [], {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, (list, tuple)) or len(entry) < 2:
            raise ValueError(
                f"{path} ({part}) must list (points, label, class). "
                f"Received: {type(entry).__name__} at {index}"
            )
        cloud = np.asarray(entry[0])
        label = np.asarray(entry[1]).reshape(-1)
        if label.size != 1 or label.dtype.kind not in "iu":
            raise ValueError(
                f"{path} ({part}): a label must be one integer. "
                f"Received: {entry[1]!r} at {index}"
            )
        shape = clouds[0].shape if clouds else cloud.shape
        if cloud.ndim != 2 or cloud.shape[1] < 3 or cloud.shape != shape:
            bad.add(index, f"shape {cloud.shape}")
            continue
        clouds.append(cloud)
        labels.append(int(label[0]))
        ids.append(f"{part}_{index}")
        if len(entry) > 2:
            names[int(label[0])] = str(np.asarray(entry[2]).reshape(-1)[0])
    if not clouds:
        bad.settle()
        raise ValueError(f"{path} ({part}) holds no clouds. Received: 0")
    points = as_floats(np.stack([cloud[:, :3] for cloud in clouds]))
    labels = np.array(labels)
    keep = usable_clouds(points, labels, ways, ids, bad)
    bad.settle()
    points = points[keep]
    return Split(
        unit_sphere(points) if normalize else to_float32(points),
        labels[keep],
        tuple(names.get(label, str(label)) for label in range(ways)),
        [i for i, k in zip(ids, keep) if k],
        f"few-shot {os.path.basename(os.path.dirname(path))} {part}",
    )
