"""Names of STAG's published version of Point-MAE."""

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

PARTS = {
    "own": "graphconv1",
    "neighbors": "graphconv2",
    "fuse": "fc",
    "up": "upproj",
}


def layout(model):
    """Of a backbone of one stage; STAG was published for no other."""
    backbone = getattr(model, "backbone", model)
    if len(backbone.trunk.stages) > 1:
        return Layout(NameMap({}))
    side = backbone.get_layer("tuner_geometry")
    names = {"tuner_geometry/down_{i}": "blocks.addparam_downproj_dict.{i}.0"}
    # Steps are numbered from the first block that has one.
    for i in range(len(side.steps)):
        for ours, theirs in PARTS.items():
            module = f"blocks.addparam_{theirs}_dict.{side.start + i}.0"
            names[f"tuner_geometry/step_{i}/{ours}"] = module
    return Layout(
        NameMap(names),
        axes={r"^blocks\.addparam_\w+_dict\.\d+\.0\.weight$": 3},
    )


register_method("STAG", "STAG", layout, r"^blocks\.addparam_\w+_dict\.")
