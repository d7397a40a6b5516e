"""Which `Objective` a task has, by its kind."""

from keras_pointpeft.training.objective import Objective


def objective_of(model) -> Objective:
    """The `Objective` of a task.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_rooms")
    training.objective_of(model).figure  # "miou"
    ```
    """
    from keras_pointpeft.models import PartSegmenter
    from keras_pointpeft.models import SemanticSegmenter
    from keras_pointpeft.training import segmentation

    if isinstance(model, PartSegmenter):
        return segmentation.Parts(model)
    if isinstance(model, SemanticSegmenter):
        return segmentation.Scenes(model)
    return Objective(model)
