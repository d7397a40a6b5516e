"""`Contract`: what a model was trained on, for everything that comes after."""

import dataclasses
import warnings

import numpy as np

from keras_pointpeft.data.appearance import CLOUDS
from keras_pointpeft.data.appearance import Appearance
from keras_pointpeft.data.appearance import look
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.clouds import SAMPLING
from keras_pointpeft.data.clouds import draw
from keras_pointpeft.data.clouds import gather_points
from keras_pointpeft.data.clouds import sample_indices
from keras_pointpeft.data.clouds import sample_points
from keras_pointpeft.data.clouds import turned
from keras_pointpeft.data.normalization import unit_sphere
from keras_pointpeft.files.progress import telling

# What a split tells of how it was read.
_SOURCE = (
    "dataset",
    "up_axis",
    "bin_columns",
    "on_bad",
    "channels",
    "color_range",
)


@dataclasses.dataclass(frozen=True)
class Contract:
    """What a model was trained on, and so what it expects.

    `training.train` makes it, adapters and presets keep it, and prediction,
    measuring, reports and exports go by it. What is not known is None.

    Args:
        class_names: tuple of strings, of clouds; the position is the label.
        part_names: tuple of strings, of parts of clouds or points of scenes.
        num_points: int, points of a cloud that the model gets.
        stored_points: int, points of a cloud before `sampling` chooses.
        sampling: string, how points are chosen in evaluation.
        training_sampling: string, how they are chosen in training.
        augmentation: what `data.augmentation.get` takes, of training.
        normalization: `"unit_sphere"`, clouds are centred and scaled; `"none"`,
            they are as files have them; or `"columns"`, of scenes.
        up_axis: string, the axis that points up in files, `"x"`, `"y"` or
            `"z"`: clouds are turned so that it is y.
        bin_columns: int, how many numbers each point of a .bin file has.
        channels: tuple of strings, what the model takes beside coordinates:
            "colors", "normals", "intensity".
        color_range: float, the number of the brightest colour where files do
            not tell it.
        column_size: float, width of the columns of a scene, in metres.
        column_stride: float, step between them as a part of their width.
        test_area: string, the area of scenes that was left out of training.
        on_bad: string, what became of clouds that cannot be used.
        preset: string, name of the preset that was trained.
        backbone: string, what training started from: `"backbone"` for the
            pre-trained weights of the preset, `"random"`, or a directory.
        seed: int, of the run.
        dataset: string, the name for `keras_pointpeft.data.load`.
        data: string, name of the training split.
        protocol: string, how it was trained and measured, in words.
        command: string, what it was trained by.
        version: string, of this package.
        date: string, `"2026-11-27"`.
        appearance: `Appearance` of the training clouds.

    Example:
    ```python
    from keras_pointpeft.data import Contract

    contract = Contract(
        class_names=("mug", "chair"),
        num_points=512,
        normalization="unit_sphere",
    )
    contract.class_names[1]  # "chair"
    ```
    """

    class_names: tuple | None = None
    part_names: tuple | None = None
    num_points: int | None = None
    stored_points: int | None = None
    sampling: str | None = None
    training_sampling: str | None = None
    augmentation: str | dict | tuple | list | None = None
    normalization: str | None = None
    up_axis: str | None = None
    bin_columns: int | None = None
    channels: tuple | None = None
    color_range: float | None = None
    column_size: float | None = None
    column_stride: float | None = None
    test_area: str | None = None
    on_bad: str | None = None
    preset: str | None = None
    backbone: str | None = None
    seed: int | None = None
    dataset: str | None = None
    data: str | None = None
    protocol: str | None = None
    command: str | None = None
    version: str | None = None
    date: str | None = None
    appearance: Appearance | None = None

    @property
    def unknown(self):
        """What a user of the model would need and nobody has told."""
        needed = ("class_names", "num_points", "sampling", "normalization")
        if self.normalization == "columns":
            needed = ("part_names", "num_points", "column_size")
        return [
            name.replace("_", " ")
            for name in needed
            if getattr(self, name) is None
        ]

    def expects(self):
        """What the model takes and gives, in a sentence or two."""
        points = self.num_points or "any number of"
        beside = "".join(f", {name}" for name in self.channels or ())
        text = f"Clouds of {points} points (x, y, z{beside}), float32"
        how = {
            "unit_sphere": "centred on their mean and scaled so that the "
            "furthest point has radius 1",
            "none": "as the files of the training set had them",
            "columns": f"columns of a scene {self.column_size} m wide: x and y "
            "from the column's centre, z from the ground, all in units of the "
            "width",
        }.get(self.normalization)
        text += f", {how}." if how else "."
        if self.up_axis is not None and self.normalization != "columns":
            text += f" Files had {self.up_axis} up; here y points up."
        if self.stored_points and self.stored_points != self.num_points:
            text += f" Of {self.stored_points} points, {self.sampling} chooses."
        names = self.part_names or self.class_names
        if names:
            what = "logarithms of probabilities, for each point,"
            if self.part_names is None:
                what = "logits, whose softmax are probabilities,"
            text += f" Gives {what} of: {', '.join(names)}."
        return text

    def told(self, **values):
        """The same with more that is known; None says nothing."""
        values = {k: v for k, v in values.items() if v is not None}
        return dataclasses.replace(self, **values)

    def to_dict(self):
        """Plain values for a JSON file."""
        values = dataclasses.asdict(self)
        if self.appearance is not None:
            values["appearance"] = self.appearance.to_dict()
        return values

    @classmethod
    def from_dict(cls, values):
        """What `to_dict` gave; what a later version adds is left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {k: v for k, v in (values or {}).items() if k in known}
        for name in ("class_names", "part_names", "channels"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        if values.get("appearance") is not None:
            values["appearance"] = Appearance.from_dict(values["appearance"])
        return cls(**values)

    @telling("preparing clouds")
    def prepare(self, clouds, names=None, seed=0, up_axis=None):
        """Clouds of any size, at any place, as the model expects them.

        As the loader of the training split did: a random choice where there
        are more points than it kept, then to the unit sphere, then the
        sampling of evaluation. A smaller cloud is filled by repeating points.

        Args:
            clouds: sequence of arrays `(points, 3)`, as the files of training
                would have them; or a `Split`, whose y is up already. Further
                channels may follow the coordinates, as the model takes them:
                colours from 0 to 1, normals turned. Those of a `Split` are
                taken where `channels` names some.
            names: optional sequence of strings, for messages.
            seed: int, of the choice.
            up_axis: optional string, the axis that points up in the clouds.
                Defaults to None: as in the files of training.

        Returns:
            float32 array `(clouds, num_points, 3)`, wider by the further
            channels.

        Raises:
            ValueError: if the clouds have unequal numbers of points and
                nobody knows how many the model expects.
        """
        if hasattr(clouds, "points"):
            split, up_axis = clouds, "y"
            clouds = split.points
            if self.channels and split.channels is not None:
                pairs = zip(split.points, split.channels)
                clouds = (np.concatenate(pair, axis=-1) for pair in pairs)
        up_axis = up_axis or self.up_axis
        prepared, few = [], []
        for number, cloud in enumerate(clouds):
            cloud = turned(np.asarray(cloud), up_axis)
            name = str(number) if names is None else str(names[number])
            wanted = self.stored_points or self.num_points or len(cloud)
            enough = min(wanted, self.num_points or wanted)
            if len(cloud) < enough:
                few.append(f"{name} ({len(cloud)})")
            rng = np.random.default_rng((seed, 0))
            wanted = min(wanted, max(len(cloud), enough))
            prepared.append(self._fitted(cloud, wanted, enough, rng))
        if few:
            warnings.warn(
                f"{len(few)} clouds have fewer than the {self.num_points} "
                "points that the model was trained with; some are repeated: "
                + ", ".join(few[:5])
                + (" ..." if len(few) > 5 else ""),
                stacklevel=2,
            )
        sizes = {len(cloud) for cloud in prepared}
        if len(sizes) > 1:
            raise ValueError(
                "Clouds of unequal sizes need a model that says how many "
                f"points it expects. Received: {sorted(sizes)[:5]} points"
            )
        return np.stack(prepared)

    def _fitted(self, cloud, wanted, enough, rng):
        if len(cloud) > wanted:
            cloud = cloud[draw(len(cloud), wanted, rng)]
        places, beside = cloud[:, :3], cloud[None, :, 3:]
        if self.normalization == "unit_sphere":
            places = unit_sphere(places)
        places = np.asarray(places, "float32")[None]
        sampling = self.sampling or "fps"
        check_choice("sampling", sampling, SAMPLING)
        chosen = sample_indices(places, enough, sampling, rng, True)
        whole = np.concatenate([places, beside], -1, dtype="float32")
        return gather_points(whole, chosen)[0]

    def complaints(self, points):
        """What is unusual about clouds as the model gets them; sentences."""
        if self.appearance is None or not len(points):
            return []
        return self.appearance.complaints(points)

    def warn(self, points):
        """Warns of clouds that cannot be what the model was trained on.

        Args:
            points: array `(clouds, points, 3)`, as the model gets them.
        """
        found = self.complaints(points)
        if found:
            warnings.warn(
                "These clouds are not as those that the model was trained on, "
                f"and its answers may be wrong: {'; '.join(found)}. "
                "`model.contract.prepare(clouds)` and "
                "`keras_pointpeft.predict_files` prepare clouds as training "
                "did.",
                stacklevel=3,
            )


def contract_of(split, recipe, **known):
    """The contract of a training run.

    Args:
        split: `Split`, or a list of `Room`.
        recipe: `keras_pointpeft.training.Recipe`.
        **known: further arguments of `Contract`.

    Returns:
        `Contract`.

    Raises:
        ValueError: a split without clouds or rooms.
    """
    if not len(split):
        raise ValueError(
            "A contract is of clouds or rooms that a model is trained on. "
            "Received: a split without any"
        )
    common = {
        "num_points": recipe.num_points,
        "training_sampling": recipe.sampling,
        "augmentation": recipe.augmentation,
        "seed": recipe.seed,
        **known,
    }
    scenes = isinstance(split, list)
    source = (split[0] if scenes else split).source or {}
    for name in _SOURCE:
        if common.get(name) is None:
            common[name] = source.get(name)
    if common["channels"] is not None:
        common["channels"] = tuple(common["channels"]) or None
    if scenes:
        return Contract(
            normalization="columns",
            column_size=recipe.column_size,
            column_stride=recipe.column_stride,
            **common,
        )
    points = split.points
    chosen = np.linspace(0, len(points) - 1, CLOUDS).round().astype(int)
    batch = np.asarray(points[np.unique(chosen)])
    stored = points.shape[1]
    if recipe.num_points is None:
        common["num_points"] = stored
    rng = np.random.default_rng(0)
    seen = look(
        sample_points(
            batch, common["num_points"], recipe.evaluation_sampling, rng
        )
    )
    given = look(batch)
    return Contract(
        class_names=split.class_names,
        part_names=split.part_names,
        stored_points=stored,
        sampling=recipe.evaluation_sampling,
        normalization="unit_sphere" if given.unit_sphere else "none",
        data=split.name,
        appearance=seen,
        **common,
    )
