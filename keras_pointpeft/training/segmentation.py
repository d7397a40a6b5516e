"""What segmentation is trained on and measured by."""

import numpy as np

from keras_pointpeft.data import RoomDataset
from keras_pointpeft.data import augmentation as augmentations
from keras_pointpeft.files.progress import track
from keras_pointpeft.step.iou import PartIoU
from keras_pointpeft.training.metrics import confusion_matrix
from keras_pointpeft.training.metrics import mean_class_accuracy
from keras_pointpeft.training.metrics import mean_iou
from keras_pointpeft.training.metrics import overall_accuracy
from keras_pointpeft.training.objective import Objective
from keras_pointpeft.training.objective import check_names

_UNLABELLED = (
    "Points to learn from and points to measure on need labels; -1 and 255 "
    "say that one has none. Received: no point with a label in "
)


def column_batches(rooms, recipe, augmentation="none") -> RoomDataset:
    """Batches of random columns of rooms, cut as a recipe says."""
    return RoomDataset(
        rooms,
        batch_size=recipe.batch_size,
        num_points=recipe.num_points,
        augmentation=augmentation,
        column_size=recipe.column_size,
        column_min_points=recipe.column_min_points,
        seed=recipe.seed,
    )


def fixed_columns(rooms, recipe):
    """Points and labels of columns that are the same at every call."""
    batches = column_batches(rooms, recipe)
    parts = [batches[index] for index in range(len(batches))]
    return tuple(np.concatenate(part) for part in zip(*parts))


class Segmentation(Objective):
    """A task that brings its own loss and metrics."""

    def loss(self, recipe):
        return self.model.default_loss()

    def metrics(self):
        return self.model.default_metrics()


class Parts(Segmentation):
    """Part segmentation: instance and class mIoU.

    Splits have part labels, and the categories of the clouds as labels.
    """

    figure = "instance_miou"

    def check(self, train_split, test_split):
        check_names(train_split, test_split)
        check_names(train_split, test_split, "parts", "part_names")
        for split in (train_split, test_split):
            if split.part_labels is None:
                raise ValueError(
                    "Part segmentation needs clouds with part labels. "
                    f"Received: {split.name}, which has none"
                )
            if split.num_classes != self.model.num_categories:
                raise ValueError(
                    f"The model knows {self.model.num_categories} "
                    f"categories. Received: {split.name} with "
                    f"{split.num_classes}"
                )
            most = int(split.part_labels.max())
            if most >= self.model.num_classes:
                raise ValueError(
                    f"The model knows {self.model.num_classes} parts. "
                    f"Received: {split.name} with part {most}"
                )
            if most < 0:
                raise ValueError(_UNLABELLED + split.name)

    def _targets(self, split):
        return {"point_labels": split.part_labels}

    def measure(self, split, recipe):
        """IoU of parts, and accuracy of points.

        With votes, the probabilities of that many augmented copies of a
        cloud's points are averaged.
        """
        model, metrics = self.model, self.metrics()
        batches = self.fixed_batches(split, recipe)
        confusion = 0
        for index in track(range(len(batches)), "measuring, batch"):
            inputs, labels = batches[index]
            scores = self._scores(inputs, recipe, index)
            for metric in metrics:
                if isinstance(metric, PartIoU):
                    known = {"category": inputs["category"]}
                    metric.update_state(labels, scores, **known)
                else:
                    metric.update_state(labels, scores)
            predicted = model.best_parts(scores, inputs["category"])
            confusion = confusion + confusion_matrix(
                labels.ravel(), predicted.ravel(), model.num_classes
            )
        return {
            **{metric.name: float(metric.result()) for metric in metrics},
            "accuracy": overall_accuracy(confusion),
            "mean_class_accuracy": mean_class_accuracy(confusion),
        }

    def _scores(self, inputs, recipe, index):
        if recipe.votes == 1:
            return np.asarray(self.model.predict_on_batch(inputs), "float32")
        augment = augmentations.get(recipe.augmentation)
        total = 0.0
        for vote in range(recipe.votes):
            rng = np.random.default_rng((recipe.seed, vote, index))
            points = augmentations.moved(augment, inputs["points"], rng)
            scores = self.model.predict_on_batch({**inputs, "points": points})
            total = total + np.exp(np.asarray(scores, "float32"))
        return total


class Scenes(Segmentation):
    """Semantic segmentation of whole rooms: mIoU. Splits are lists of rooms.

    Training sees random columns of the rooms, and so does the selection of an
    epoch; measured are whole rooms.
    """

    figure = "miou"

    def check(self, train_split, test_split):
        for room in (*train_split, *test_split):
            if room.labels.max() >= self.model.num_classes:
                raise ValueError(
                    f"The model has {self.model.num_classes} classes. "
                    f"Received: {room.name} with label {room.labels.max()}"
                )
        for rooms in (train_split, test_split):
            if all(room.labels.max() < 0 for room in rooms):
                names = ", ".join(room.name for room in rooms[:5])
                raise ValueError(_UNLABELLED + (names or "no scene"))

    def training_batches(self, split, recipe):
        return column_batches(split, recipe, recipe.augmentation)

    def fixed_batches(self, split, recipe):
        return fixed_columns(split, recipe)

    def hold_out(self, split, recipe):
        """Whole rooms are held out."""
        order = np.random.default_rng(recipe.seed).permutation(len(split))
        count = max(1, round(recipe.held_out_fraction * len(split)))
        if count >= len(split):
            return split, []
        held = set(order[:count].tolist())
        return (
            [room for i, room in enumerate(split) if i not in held],
            [room for i, room in enumerate(split) if i in held],
        )

    def measure(self, split, recipe):
        confusion = 0
        for room in track(split, "measuring, room"):
            predicted = self.model.predict_room(
                room,
                recipe.num_points,
                recipe.votes,
                column_size=recipe.column_size,
                stride=recipe.column_stride * recipe.column_size,
                batch_size=recipe.batch_size,
                seed=recipe.seed,
            )
            confusion = confusion + confusion_matrix(
                room.labels, predicted, self.model.num_classes
            )
        return {
            "miou": mean_iou(confusion),
            "accuracy": overall_accuracy(confusion),
            "mean_class_accuracy": mean_class_accuracy(confusion),
        }
