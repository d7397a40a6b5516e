"""Names of the published classifiers' heads, which are numbered in a row."""

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_task
from keras_pointpeft.checkpoints.layouts.registry import trunk_of
from keras_pointpeft.checkpoints.names import NameMap

# Found in the name of a tensor of a head.
HEAD = r"(^|\.)cls_head_finetune\."


@register_task("PointCloudClassifier")
def classifier(task, base):
    """Linear, norm if there is one, ReLU and dropout; a linear at the end."""
    theirs = trunk_of(task).head
    count = len(task.head_dims)
    stride = 4 if task.head_norm else 3
    modules = {"head/logits": f"{theirs}.{count * stride}"}
    for i in range(count):
        modules[f"head/fc{i + 1}"] = f"{theirs}.{i * stride}"
        modules[f"head/norm{i + 1}"] = f"{theirs}.{i * stride + 1}"
    return base | Layout(NameMap(modules))
