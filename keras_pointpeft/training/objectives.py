"""What a task is trained on and measured by; classification."""


from keras_pointpeft.training.objective import Objective


def objective_of(model) -> Objective:
    """The `Objective` of a task."""
    from keras_pointpeft.models import PartSegmenter
    from keras_pointpeft.models import SemanticSegmenter
    from keras_pointpeft.training import segmentation

    if isinstance(model, PartSegmenter):
        return segmentation.Parts(model)
    if isinstance(model, SemanticSegmenter):
        return segmentation.Scenes(model)
    return Objective(model)
