"""What a report shows of a trained task: numbers and arrays, no figures."""

from dataclasses import dataclass
from dataclasses import field

import keras
import numpy as np

from keras_pointpeft.experiments import runs
from keras_pointpeft.models.watching import BlockReader
from keras_pointpeft.peft.point_peft.prior import prior_layer
from keras_pointpeft.reports import embedding
from keras_pointpeft.reports import inspection
from keras_pointpeft.reports.dead_parts import bank_in_words
from keras_pointpeft.reports.dead_parts import dead_parts
from keras_pointpeft.training import live_parts
from keras_pointpeft.training.metrics import confusion_matrix
from keras_pointpeft.training.objectives import objective_of

# Clouds whose features are drawn, and of these, clouds that are shown.
FEATURES, CLOUDS = 400, 6
# Nearest samples of a bank that are shown beside a cloud.
NEAREST = 4


@dataclass(eq=False)
class CloudView:
    """A cloud and what the model makes of it.

    Attributes:
        points: array `(points, 3)`, z up.
        title: string: what it is, and what the model takes it for.
        scales: list of arrays `(points,)`, block by block; empty without a
            method that has scales.
        attention: list of arrays `(points,)`, block by block.
        nearest: list of tuples `(points, title)`, of a bank, z up.
        parts: None, or true and predicted labels, `(points,)` each.
    """

    points: np.ndarray
    title: str
    scales: list = field(default_factory=list)
    attention: list = field(default_factory=list)
    nearest: list = field(default_factory=list)
    parts: tuple | None = None


@dataclass(eq=False)
class Findings:
    """What a report shows.

    Attributes:
        title: string.
        facts: list of pairs of strings, what and how much.
        history: list of dicts, one per epoch.
        class_names: tuple of strings, of classes or parts.
        confusion: int array `(classes, classes)`, rows are true classes.
        measure: string, `"accuracy"` or `"IoU"`, what `per_class` is.
        per_class: array `(classes,)`, NaN for those without samples.
        counted: string, what the confusion matrix counts.
        summary: dict, see `keras_pointpeft.adapters.summary`.
        features: `keras_pointpeft.reports.embedding.Features`, or None.
        block_names: list of strings.
        looks: string, who pays the attention.
        scale_range: array `(blocks, 2)`, mean and deviation of the scales, or
            None.
        clouds: list of `CloudView`.
        dead: list of sentences, parts of the model that do nothing.
        live: dict from times, in words, to what parts of the method let
            through then, see `keras_pointpeft.training.live_shares`.
    """

    title: str
    facts: list
    history: list
    class_names: tuple
    confusion: np.ndarray
    measure: str
    per_class: np.ndarray
    counted: str
    summary: dict
    features: object = None
    block_names: list = field(default_factory=list)
    looks: str = ""
    scale_range: np.ndarray | None = None
    clouds: list = field(default_factory=list)
    dead: list = field(default_factory=list)
    live: dict = field(default_factory=dict)


@dataclass(eq=False)
class Samples:
    """Clouds of a test split, as they are evaluated.

    Attributes:
        points: array `(clouds, points, 3)`.
        category: int array `(clouds,)`, or None.
        truth: int array `(clouds,)`, or `(clouds, points)` in segmentation.
        names: tuple of strings, of the labels in `truth`.
        groups: tuple of strings, of the classes of whole clouds, or None.
    """

    points: np.ndarray
    category: np.ndarray | None
    truth: np.ndarray
    names: tuple
    groups: tuple | None

    @property
    def some(self):
        """Indices of the clouds whose features are drawn."""
        return _spread(len(self.points), FEATURES)


def samples(model, split, recipe, names=()) -> Samples:
    """The clouds of a split, sampled as in evaluation; of rooms, columns.

    Args:
        model: the task.
        split: `keras_pointpeft.data.Split`, or a list of rooms.
        recipe: `keras_pointpeft.training.Recipe`.
        names: tuple of strings, of the labels of rooms.
    """
    batches = objective_of(model).fixed_batches(split, recipe)
    whole = isinstance(batches, tuple)
    inputs, truth = batches if whole else batches.as_arrays()
    category, groups = None, None
    if isinstance(inputs, dict):
        inputs, category = inputs["points"], inputs["category"]
    if not isinstance(split, list):
        groups = tuple(split.class_names)
        names = split.part_names if truth.ndim == 2 else groups
    count = model.num_classes
    if names is None or len(names) != count:
        names = tuple(str(i) for i in range(count))
    truth = np.asarray(truth, "int32")
    return Samples(inputs, category, truth, tuple(names), groups)


def collect(
    model, given, before, train_split, recipe, title, live=None, **known
):
    """Looks at a trained task.

    Args:
        model: the task.
        given: `Samples`, to look at it with.
        before: array `(clouds, features)`, of the clouds `given.some` by the
            backbone before training; None if nobody knows.
        train_split: `keras_pointpeft.data.Split`, or a list of rooms.
        recipe: `keras_pointpeft.training.Recipe`.
        title: string.
        live: optional dict, what the method's parts let through before
            training, see `keras_pointpeft.training.live_shares`.
        **known: `facts` and `history` of the run.

    Returns:
        `Findings`.
    """
    points, truth, names = given.points, given.truth, given.names
    predicted = _predict(model, points, given.category, recipe.batch_size)
    confusion = confusion_matrix(truth.ravel(), predicted.ravel(), len(names))
    parts = truth.ndim == 2
    right = np.diag(confusion).astype("float64")
    whole = confusion.sum(axis=1)
    if parts:
        whole = whole + confusion.sum(axis=0) - right
    with np.errstate(invalid="ignore", divide="ignore"):
        per_class = np.where(whole > 0, right / whole, np.nan)
    found = Findings(
        title=title,
        class_names=names,
        confusion=confusion,
        measure="IoU" if parts else "accuracy",
        per_class=per_class,
        counted="points" if parts else "clouds",
        summary=model.peft_summary(print_fn=None),
        **known,
    )
    labels = given.category if parts else truth
    if labels is not None and before is not None:
        found.features = embedding.embed(
            before,
            model.backbone.extract(points[given.some])["pooled"],
            labels[given.some],
            given.groups,
        )
    chosen = _chosen(truth, predicted)
    shown = points[chosen]
    rooms = isinstance(train_split, list)
    places = shown[..., :3]
    for i, cloud in zip(chosen, places if rooms else upright(places)):
        view = _view(cloud, truth[i], predicted[i], names)
        if parts and given.category is not None:
            view.title = f"{given.groups[given.category[i]]}, {view.title}"
        found.clouds.append(view)
    shares = _add_blocks(found, model.backbone, shown)
    found.dead = dead_parts(model, shares)
    found.live = live_parts.by_time(live, found.history, shares)
    if not rooms:
        add_nearest(found, model, shown, train_split, recipe)
    return found


def live_parts_of(backbone, given):
    """What a method's parts let through of some of the clouds."""
    chosen = _spread(len(given.points), CLOUDS)
    _, blocks = BlockReader(backbone)(given.points[chosen])
    return live_parts.live_shares(blocks)


def upright(points):
    """Clouds with y up, as files of shapes have it, with z up."""
    x, y, z = np.moveaxis(np.asarray(points, "float32"), -1, 0)
    return np.stack((x, -z, y), axis=-1)


def _predict(model, points, category, batch_size):
    if category is not None:
        return model.predict_parts(points, category, batch_size)
    scores = model.predict(points, batch_size=batch_size, verbose=0)
    return scores.argmax(axis=-1).astype("int32")


def _spread(count, most):
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(int)


def _chosen(truth, predicted):
    """Clouds to show: right and wrong ones by turns, of many classes."""
    if truth.ndim == 2:
        return _spread(len(truth), CLOUDS)
    groups = []
    for wanted in (True, False):
        index = np.flatnonzero((truth == predicted) == wanted)
        _, first = np.unique(truth[index], return_index=True)
        rest = np.setdiff1d(np.arange(len(index)), first)
        index = index[np.concatenate((first, rest)).astype(int)]
        head = index[: max(len(first), CLOUDS)]
        groups.append(head[_spread(len(head), CLOUDS)].tolist())
    right, wrong = groups
    half = CLOUDS // 2
    some = wrong[: max(half, CLOUDS - len(right))]
    return np.array(right[: CLOUDS - len(some)] + some, int)


def _view(points, truth, predicted, names):
    if truth.ndim:
        share = float(np.mean(truth == predicted))
        title = f"{100 * share:.0f} % of the points right"
        return CloudView(points, title, parts=(truth, predicted))
    word = "right" if truth == predicted else "wrong"
    title = f"{names[truth]}, taken for {names[predicted]} ({word})"
    return CloudView(points, title)


def _add_blocks(found, backbone, points):
    seen = inspection.inspect(backbone, points)
    found.looks = seen.looks
    found.block_names = [block.name for block in seen.blocks]
    size = backbone.group_size
    if isinstance(size, tuple):  # of patches of patches
        size = 2 * points.shape[1] // seen.centers.shape[1]
    for block in seen.blocks:
        for values, name in (
            (block.attention, "attention"),
            (block.scale, "scales"),
        ):
            if values is None:
                continue
            values = inspection.onto_points(
                points[..., :3], seen.centers, values, size
            )
            for view, row in zip(found.clouds, values):
                getattr(view, name).append(row)
    if all(block.scale is not None for block in seen.blocks):
        found.scale_range = np.array(
            [(block.scale.mean(), block.scale.std()) for block in seen.blocks]
        )
    return seen.shares


def add_nearest(found, model, points, train_split, recipe):
    """The clouds that the nearest entries of a bank were made of."""
    layer = prior_layer(model.backbone)
    if layer is None:
        return
    rows = int(keras.ops.convert_to_numpy(layer.count))
    bank = keras.ops.convert_to_numpy(layer.bank)[:rows]
    features = _frozen(model.backbone, layer, points)
    whole = runs.build_bank(model, train_split, recipe, verbose=0)
    sources = whole.features.astype("float32")
    similar = features / np.linalg.norm(features, axis=1, keepdims=True)
    similar = similar @ bank.T
    nearest = np.argsort(-similar, axis=1)[:, : layer.top_k]
    found.dead.append(bank_in_words(nearest, rows))
    for view, row in zip(found.clouds, similar):
        for entry in np.argsort(-row)[:NEAREST]:
            source = int(np.argmax(sources @ bank[entry]))
            if not np.allclose(sources[source], bank[entry], atol=2e-3):
                raise ValueError(
                    "The bank of this model was made of other clouds than "
                    "those of the training split that was given. Received: "
                    f"{train_split.name}, {len(train_split)} clouds"
                )
            name = train_split.class_names[train_split.labels[source]]
            title = f"{name} ({row[entry]:.3f})"
            cloud = upright(train_split.points[source])
            view.nearest.append((cloud, title))


def _frozen(backbone, layer, points):
    encoder = backbone.frozen_pass(
        layer.num_groups or backbone.num_groups,
        layer.group_size or backbone.group_size,
    )
    return encoder.predict(points[..., :3], verbose=0)
