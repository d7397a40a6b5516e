"""The bank of features that Point-PEFT's prompts draw on."""

import json
import pathlib
import zipfile

import numpy as np
from keras import ops

from keras_pointpeft.files.progress import track
from keras_pointpeft.files.whole import whole_file
from keras_pointpeft.peft.freezing import fingerprint
from keras_pointpeft.peft.point_peft.prior import prior_layer
from keras_pointpeft.peft.point_peft.prior import query

FORMAT = 1


def random(features, labels, size, rng):
    """Any of them."""
    return rng.permutation(len(features))[:size]


def class_balanced(features, labels, size, rng):
    """As many of each class as possible."""
    if labels is None:
        raise ValueError(
            "Class-balanced sampling needs labels: build the bank with "
            "them. Received: a bank without labels"
        )
    order = rng.permutation(len(features))
    seen, turn = {}, np.empty(len(features), "int64")
    for i in order:
        label = int(labels[i])
        turn[i] = seen[label] = seen.get(label, -1) + 1
    return order[np.argsort(turn[order], kind="stable")][:size]


def k_center(features, labels, size, rng):
    """Greedily the one that is farthest from those kept."""
    features = features.astype("float32")
    chosen = [int(rng.integers(len(features)))]
    nearest = np.full(len(features), np.inf, "float32")
    for _ in track(range(size - 1), "choosing entries"):
        distance = np.sum((features - features[chosen[-1]]) ** 2, axis=1)
        nearest = np.minimum(nearest, distance)
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


SAMPLINGS = {
    "random": random,
    "class_balanced": class_balanced,
    "k_center": k_center,
}


class PriorBank:
    """Features of a training set, as the frozen backbone sees it.

    Point-PEFT makes its prompts from the features that are most like those
    of the cloud at hand. The published bank was never documented; this one
    is built from any data, in one pass, and belongs to one backbone.

    Args:
        features: array `(entries, dim)`.
        fingerprint: string, of the backbone; see `fingerprint`.
        recipe: dict that says how the bank was made. Anything JSON can hold.
        labels: optional int array `(entries,)`, for class-balanced sampling.

    Raises:
        ValueError: if `features` are no finite float array `(entries, dim)`, or
            `labels` are not one per entry; and by the methods, for data, sizes
            and backbones that do not fit.

    Example:
    ```python
    model = keras_pointpeft.from_preset(
        "pointpeft_pointmaetiny_shapes", load_weights="backbone"
    )
    bank = keras_pointpeft.peft.PriorBank.build(model, points)
    bank.attach(model)
    model.fit(points, labels, epochs=10)
    ```
    """

    def __init__(self, features, fingerprint, recipe=None, labels=None):
        features = np.asarray(features)
        if features.ndim != 2 or not len(features):
            raise ValueError(
                "`features` must be a non-empty array (entries, dim). "
                f"Received: shape {features.shape}"
            )
        if features.dtype not in (np.float32, np.float16):
            raise ValueError(
                "`features` must be float32 or float16. "
                f"Received: {features.dtype}"
            )
        if not np.all(np.isfinite(features)):
            raise ValueError(
                "The bank's features must be finite. Received: NaN or "
                f"infinity in {int((~np.isfinite(features)).sum())} places"
            )
        if labels is not None and np.shape(labels) != (len(features),):
            raise ValueError(
                "`labels` must be one per entry. "
                f"Received: {np.shape(labels)} for {len(features)} entries"
            )
        self.features = features
        self.fingerprint = fingerprint
        self.recipe = dict(recipe or {})
        self.labels = None if labels is None else np.asarray(labels, "int32")

    def __len__(self):
        return len(self.features)

    @classmethod
    def build(
        cls,
        model,
        data,
        labels=None,
        num_groups=None,
        group_size=None,
        normalize=True,
        dtype="float16",
        batch_size=32,
        source=None,
        verbose=1,
    ):
        """Makes a bank: one pass of the frozen, un-prompted backbone.

        Args:
            model: a backbone or a task. Patches are cut as its Point-PEFT
                says, or as the backbone does if it has none.
            data: array `(clouds, points, 3)`, or an iterable of batches:
                points, or a tuple of points and labels, such as a
                `keras_pointpeft.data.PointCloudDataset` without
                augmentation.
            labels: optional int array `(clouds,)`, for arrays.
            num_groups: optional int. Another number of patches.
            group_size: optional int. Other points per patch.
            normalize: bool. Whether entries get norm 1, which makes the
                similarities cosines.
            dtype: `"float16"` or `"float32"`. Half the size costs 3 digits.
            batch_size: int, for arrays.
            source: optional string, the data's name for the recipe.
            verbose: 0 or 1, a line every few seconds.

        Returns:
            A `PriorBank`.
        """
        if dtype not in ("float16", "float32"):
            raise ValueError(
                f"`dtype` must be 'float16' or 'float32'. Received: {dtype!r}"
            )
        backbone = getattr(model, "backbone", model)
        prior = prior_layer(backbone)
        if prior is not None:
            num_groups = num_groups or prior.num_groups
            group_size = group_size or prior.group_size
        num_groups = num_groups or backbone.num_groups
        group_size = group_size or backbone.group_size
        encoder = backbone.frozen_pass(num_groups, group_size)
        width = backbone.input.shape[-1]
        batches, total = batches_of(data, labels, batch_size, width)
        if verbose:
            batches = track(batches, "building a bank, batch", total)
        features, found = [], []
        for points, part in batches:
            # The frozen pass sees places alone.
            places = ops.convert_to_tensor(points)[..., :3]
            feature = encoder(places, training=False)
            features.append(ops.convert_to_numpy(ops.stop_gradient(feature)))
            found.append(part)
        if not features:
            raise ValueError("There is no cloud to build a bank from.")
        features = np.concatenate(features).astype("float32")
        if normalize:
            features /= np.linalg.norm(features, axis=1, keepdims=True)
        known = all(part is not None for part in found)
        recipe = {
            "source": source,
            "entries": len(features),
            "num_points": int(points.shape[1]),
            "num_groups": num_groups,
            "group_size": group_size,
            "normalize": normalize,
            "dtype": dtype,
        }
        return cls(
            features.astype(dtype),
            fingerprint(backbone),
            recipe,
            np.concatenate(found) if known else None,
        )

    def sample(self, size, method="random", seed=0):
        """A smaller bank.

        Args:
            size: int. Number of entries to keep.
            method: `"random"`; `"class_balanced"`, as many of each class as
                possible, which needs labels; or `"k_center"`, greedily the
                entry that is farthest from those kept.
            seed: int.

        Returns:
            A `PriorBank`; entries keep their order.
        """
        if method not in SAMPLINGS:
            raise ValueError(
                f"`method` must be one of {tuple(SAMPLINGS)}. "
                f"Received: {method!r}"
            )
        if not 0 < size <= len(self):
            raise ValueError(
                f"`size` must lie between 1 and {len(self)}. Received: {size}"
            )
        rng = np.random.default_rng(seed)
        choose = SAMPLINGS[method]
        index = np.sort(choose(self.features, self.labels, size, rng))
        recipe = {**self.recipe, "sampling": method, "sampling_seed": seed}
        return PriorBank(
            self.features[index],
            self.fingerprint,
            {**recipe, "entries": size},
            None if self.labels is None else self.labels[index],
        )

    def query(self, features, top_k=8):
        """See the function `query`; features are an array or tensor."""
        if top_k > len(self):
            raise ValueError(
                f"The bank has {len(self)} entries. Received: top_k={top_k}"
            )
        bank = self.features.astype("float32")
        return query(ops.convert_to_tensor(features), bank, top_k)

    def attach(self, model):
        """Gives the bank to a model that is tuned with `PointPEFT`.

        Args:
            model: a task or a backbone.

        Raises:
            ValueError: if the model reads no bank, or for a bank of another
                backbone or width, with too few or too many entries.
        """
        backbone = getattr(model, "backbone", model)
        layer = prior_layer(backbone)
        if layer is None:
            raise ValueError(
                "Only a backbone with `peft=PointPEFT(prior=True)` reads a "
                f"bank. Received: peft={getattr(backbone, 'peft', None)!r}"
            )
        if self.features.shape[1] == layer.bank.shape[1]:
            found = fingerprint(backbone)
            if found != self.fingerprint:
                raise ValueError(
                    "The bank was built with other frozen weights than this "
                    f"model's, {found[:16]}...; build one with "
                    "`PriorBank.build(model, points)`. "
                    f"Received: a bank of {self.fingerprint[:16]}..."
                )
            for name in ("num_groups", "group_size"):
                # A hierarchy has one per stage; a file makes them a list.
                mine = getattr(layer, name) or getattr(backbone, name)
                theirs = self.recipe.get(name, mine)
                if not np.array_equal(theirs, mine):
                    raise ValueError(
                        f"The bank was built with {name}={theirs}, the model "
                        f"makes its queries with {mine}. Received: "
                        f"recipe={self.recipe}"
                    )
        layer.fill(self.features, self.fingerprint)
        backbone.peft.bank_recipe = dict(self.recipe)

    def save(self, path):
        """Writes the bank to a `.npz` file, whole or not at all."""
        arrays = {"features": self.features}
        if self.labels is not None:
            arrays["labels"] = self.labels
        about = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe,
        }
        with whole_file(path) as place, open(place, "wb") as stream:
            np.savez(stream, about=json.dumps(about), **arrays)

    @classmethod
    def load(cls, path):
        """Reads a bank that `save` wrote.

        Raises:
            ValueError: for a file that is damaged, of another kind or format,
                or compressed: as written, it is as large as what it holds.
        """
        path = pathlib.Path(path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = _uncompressed(archive)
            about = json.loads(str(arrays["about"]))
            features = arrays["features"]
            found = about.get("format")
        except FileNotFoundError:
            raise
        except (
            *(AttributeError, EOFError, KeyError, MemoryError),
            *(NotImplementedError, OSError, ValueError, zipfile.BadZipFile),
        ) as error:
            raise ValueError(
                "This is no bank that `PriorBank.save` wrote, or a damaged "
                f"one: {error}. Received: {str(path)!r}"
            ) from error
        if found != FORMAT:
            raise ValueError(
                f"This version reads banks of format {FORMAT}. "
                f"Received: format={found!r}"
            )
        return cls(
            features,
            about["fingerprint"],
            about["recipe"],
            arrays.get("labels"),
        )


def batches_of(data, labels, batch_size, width=3):
    """Batches of points and labels, and how many there are if known.

    Args:
        data: array `(clouds, points, 3)`, or an iterable of batches: points,
            or a tuple of points and labels.
        labels: optional array `(clouds,)`, for an array of points.
        batch_size: int, for an array of points.
        width: int, of the points that a model takes; those of an array may
            have it, or be places alone.

    Returns:
        An iterable of pairs, where labels may be None, and an int or None.
    """
    if hasattr(data, "ndim"):
        points = np.asarray(data, "float32")
        if points.ndim != 3 or points.shape[-1] not in (3, width):
            raise ValueError(
                "Points must have the shape (clouds, points, 3). "
                f"Received: {points.shape}"
            )
        starts = range(0, len(points), batch_size)
        batches = (
            (
                points[i : i + batch_size],
                None if labels is None else labels[i : i + batch_size],
            )
            for i in starts
        )
        return batches, len(starts)
    if labels is not None:
        raise ValueError(
            "`labels` go with an array of points; batches bring their own. "
            f"Received: data of type {type(data).__name__}"
        )
    total = len(data) if hasattr(data, "__len__") else None
    indexed = hasattr(data, "__getitem__") and total is not None
    items = (data[i] for i in range(total)) if indexed else iter(data)
    return (_split(item) for item in items), total


def _split(item):
    if isinstance(item, (tuple, list)):
        labels = np.asarray(item[1]) if len(item) > 1 else None
        return np.asarray(item[0], "float32"), labels
    return np.asarray(item, "float32"), None


def _uncompressed(archive):
    """All arrays of an `.npz` file, if none is compressed."""
    for member in archive.zip.infolist():
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed")
    return {name: archive[name] for name in archive.files}
