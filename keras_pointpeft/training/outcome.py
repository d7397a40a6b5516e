"""What a training run gave."""

import math
import statistics
from dataclasses import dataclass
from dataclasses import field

from keras_pointpeft.training.callbacks import assign


@dataclass(frozen=True)
class TrainingResult:
    """What a training run gave. Figures are parts of 1, on the test split.

    Attributes:
        last_accuracy: float, of the last epoch's weights.
        best_accuracy: float, of the selected epoch's weights.
        best_epoch: int, the selected epoch, counted from 0.
        selection: string, how it was selected, see `Recipe`.
        mean_class_accuracy: float, of the selected weights.
        figures: dict of these and all others of the selected weights, such as
            the `"instance_miou"` of part segmentation. Accuracies of
            segmentation are of points.
        last_figures: dict of those of the last epoch's weights.
        votes: int, passes averaged for these figures, see `Recipe`.
        held_out_accuracy: float or None, of the selected epoch on the
            held-out part; of segmentation, the mIoU that it was selected by.
        trained_parameters: int, with the head.
        seconds_per_epoch: float, median over the epochs, validation left out.
        train_clouds: int, clouds that were trained on.
        test_clouds: int.
        history: list of dicts, one per epoch.
        schedule: `"epoch"` or `"update"`, when the learning rate moved, see
            `Recipe`.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    shapes = keras_pointpeft.data.load_shapes(num_clouds=40)
    recipe = training.Recipe(epochs=1, selection="last")
    result = training.train(model, shapes, shapes, recipe)
    print(result.last_accuracy, result.seconds_per_epoch)
    ```
    """

    last_accuracy: float
    best_accuracy: float
    best_epoch: int
    selection: str
    mean_class_accuracy: float
    figures: dict
    last_figures: dict
    votes: int
    held_out_accuracy: float | None
    trained_parameters: int
    seconds_per_epoch: float
    train_clouds: int
    test_clouds: int
    history: list = field(repr=False)
    schedule: str = "epoch"


def measured(
    objective, learned, test_split, recipe, best, history, variables, settle
) -> TrainingResult:
    """Measures a trained model and leaves the selected weights in it.

    Args:
        objective: `Objective` of the model, which has the last epoch's
            weights.
        learned: the split that it was trained on.
        test_split: the split to measure on.
        recipe: `Recipe`.
        best: `BestEpoch`, or None if the last epoch is selected.
        history: list of dicts, one per epoch.
        variables: list of the variables that `best` has values of.
        settle: function that is called before weights are measured.
    """
    model = objective.model
    settle()
    last = chosen = objective.measure(test_split, recipe)
    epoch, held_out = len(history) - 1, None
    if best is not None:
        epoch = best.epoch
        if recipe.selection == "held_out":
            held_out = best.score[0]
        if epoch != len(history) - 1:
            assign(variables, best.values)
            settle()
            chosen = objective.measure(test_split, recipe)
    return TrainingResult(
        last_accuracy=last["accuracy"],
        best_accuracy=chosen["accuracy"],
        best_epoch=epoch,
        selection=recipe.selection,
        mean_class_accuracy=chosen["mean_class_accuracy"],
        figures=chosen,
        last_figures=last,
        votes=recipe.votes,
        held_out_accuracy=held_out,
        trained_parameters=sum(
            math.prod(v.shape) for v in model.trainable_variables
        ),
        seconds_per_epoch=statistics.median(r["seconds"] for r in history),
        train_clouds=len(learned),
        test_clouds=len(test_split),
        history=list(history),
        schedule=recipe.moves_by,
    )
