"""Wrote the archives here, with version 0.1.0, at commit 7a2fd60.

They hold what users of that version have on their disks: presets, models,
adapters, training states, banks. `tests/test_saved_files.py` loads them with
the code of today. They are not to be written again; a later version that
saves in another way gets archives of its own.

    KERAS_BACKEND=torch python tests/saved/write.py
    KERAS_BACKEND=tensorflow python tests/saved/write.py dapt
    KERAS_BACKEND=jax python tests/saved/write.py dapt

Each archive has the logits of `clouds()` beside the files, and a suffix if it
is not of torch: what one backend wrote, the others load.
"""

import pathlib
import sys
import tarfile
import tempfile

import keras
import numpy as np

from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft.data import Split
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import TrainingCheckpoint
from keras_pointpeft.training.checkpoint import identity

FOLDER = pathlib.Path(__file__).parent
PLAIN = {
    "num_groups": 8,
    "group_size": 8,
    "dim": 12,
    "depth": 2,
    "num_heads": 3,
    "encoder_dims": (4, 6, 8),
}
SIZES = {
    "ACTBackbone": PLAIN,
    "PointBERTBackbone": {**PLAIN, "token_dim": 8},
    "PointGPTBackbone": PLAIN,
    "PointM2AEBackbone": {
        "num_groups": (16, 8, 8),
        "group_sizes": (8, 4, 4),
        "dims": (6, 9, 12),
        "depths": (1, 1, 1),
        "num_heads": 3,
        "radii": (0.8, 1.2, 1.6),
        "encoder_dims": (4, 4, 8),
    },
    "PointMAEBackbone": PLAIN,
    "ReConBackbone": PLAIN,
}
PRIOR = {
    "adapter_rank": 4,
    "num_prompts": 4,
    "prompt_blocks": 1,
    "bank_size": 12,
    "prior_groups": None,
    "prior_group_size": None,
}
GEOMETRY = {"adapter_rank": 4, "num_prompts": 4, "prompt_blocks": 1}
# Name: backbone, method, arguments of the method, and the task if it is not
# classification. Every method, task and backbone is here.
CASES = {
    "act_full": ("ACTBackbone", "Full", {}),
    "act_prefix": ("ACTBackbone", "PrefixTuning", {"num_prefixes": 4}),
    "act_side": ("ACTBackbone", "SideTuning", {"encoder_dims": (4, 6, 8)}),
    "dapt": ("PointMAEBackbone", "DAPT", {"rank": 4, "dropout": 0.2}),
    "dapt_parts": ("PointMAEBackbone", "DAPT", {"rank": 4}, "parts"),
    "dapt_scene": ("PointMAEBackbone", "DAPT", {"rank": 4}, "scene"),
    "mae_adapter": ("PointMAEBackbone", "Adapter", {"rank": 4}),
    "mae_bitfit": ("PointMAEBackbone", "BitFit", {}),
    "mae_gaprompt": ("PointMAEBackbone", "GAPrompt", GEOMETRY),
    "mae_idpt": ("PointMAEBackbone", "IDPT", {"prompt_block": -1}),
    "mae_lora": ("PointMAEBackbone", "LoRA", {"rank": 2}),
    "mae_pointgst": ("PointMAEBackbone", "PointGST", {"rank": 4, "local": 4}),
    "mae_pointlora": (
        "PointMAEBackbone",
        "PointLoRA",
        {"rank": 2, "prompt_rank": 4},
    ),
    "mae_pointpeft": ("PointMAEBackbone", "PointPEFT", PRIOR),
    "mae_ppt": ("PointMAEBackbone", "PPT", {"rank": 4}),
    "mae_pretrain": ("PointMAEBackbone", None, {}, "pretrain"),
    "mae_ssf": ("PointMAEBackbone", "SSF", {}),
    "mae_vptdeep": ("PointMAEBackbone", "VPT", {"num_prompts": 4}),
    "m2ae_dapt": ("PointM2AEBackbone", "DAPT", {"rank": 4}),
    "m2ae_parts": ("PointM2AEBackbone", "LinearProbe", {}, "parts"),
    "m2ae_pointpeft": (
        "PointM2AEBackbone",
        "PointPEFT",
        {**PRIOR, "prompt_blocks": 3, "propagation_scale": 0.2},
    ),
    "m2ae_pretrain": ("PointM2AEBackbone", None, {}, "pretrain"),
    "pointbert_adaptformer": ("PointBERTBackbone", "AdaptFormer", {"rank": 4}),
    "pointbert_vptshallow": (
        "PointBERTBackbone",
        "VPT",
        {"num_prompts": 4, "deep": False},
    ),
    "pointgpt_dapt": (
        "PointGPTBackbone",
        "DAPT",
        {
            "rank": 4,
            "prompt_token": "with_patches",
            "patch_token": "max",
            "position": "last",
            "sites": ("norm1", "norm2", "fc1", "fc2"),
            "mlp_reads": "tokens",
        },
    ),
    "pointgpt_parts": ("PointGPTBackbone", "DAPT", {"rank": 4}, "parts"),
    "pointgpt_pretrain": ("PointGPTBackbone", None, {}, "pretrain"),
    "recon_dapt": ("ReConBackbone", "DAPT", {"rank": 4}),
    "recon_linear": ("ReConBackbone", "LinearProbe", {}),
}
PARTS = ((0, 1), (2, 3), (4, 5))


def clouds():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (4, 64, 3)).astype("float32")
    return points, np.arange(4, dtype="int32") % 3


def inputs(task):
    """What a model is called with, and the labels it learns from."""
    points, labels = clouds()
    if task == "parts":
        each = np.tile(2 * labels[:, None], (1, 64)).astype("int32")
        return {"points": points, "category": labels}, each
    if task == "scene":
        return points, (points[..., 2] > 0).astype("int32")
    if task == "pretrain":
        return points, None
    return points, labels


def hidden(model):
    """The mask of a pre-trainer that all versions call it with."""
    backbone = model.backbone
    if isinstance(model, models.GenerativePretrainer):
        return np.arange(backbone.num_groups) % 2 == 1
    groups = backbone.num_groups
    groups = groups[-1] if isinstance(groups, tuple) else groups
    mask = np.arange(groups) < model.num_masked
    return np.stack([np.roll(mask, i) for i in range(4)])


def outputs(model, task):
    """Logits, or what a pre-trainer gives, by name."""
    x, _ = inputs(task)
    if task == "pretrain":
        found = model(x, hidden(model), training=False)
    else:
        found = {"logits": model(x, training=False)}
    return {k: keras.ops.convert_to_numpy(v) for k, v in found.items()}


def build(backbone, method, arguments, task="class"):
    sizes = dict(SIZES[backbone])
    if task == "pretrain" and backbone == "PointGPTBackbone":
        sizes["generator_depth"] = 1
    if task in ("parts", "scene") and "depth" in sizes:
        sizes["depth"] = 3
    made = method and getattr(peft, method)(**arguments)
    built = getattr(models, backbone)(peft=made, **sizes)
    if task == "parts":
        dims = (8, 12 if built.decoder == "graph" else 6)
        kwargs = {"propagation_dims": dims, "head_dims": (8, 8)}
        return models.PartSegmenter(built, 6, 3, PARTS, **kwargs)
    if task == "scene":
        kwargs = {"propagation_dims": (8, 6), "head_dims": (8,)}
        return models.SemanticSegmenter(built, 2, (1.0, 2.0), **kwargs)
    if task == "pretrain":
        small = {"decoder_depth": 1, "decoder_num_heads": 3}
        if backbone == "PointGPTBackbone":
            return models.GenerativePretrainer(built, num_kept=2, seed=1)
        if backbone == "PointM2AEBackbone":
            return models.HierarchicalMaskedAutoencoder(built, seed=1, **small)
        return models.MaskedAutoencoder(built, seed=1, **small)
    return models.PointCloudClassifier(built, 3, head_dims=(8,))


def rounded(value):
    """To few digits, which archives keep small."""
    return np.round(np.asarray(value) * 64) / 64


def stir(model):
    """No weight is zero or one, and no statistic is where it started."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if "seed_generator" in variable.path or "bank" in variable.path:
            continue
        value = variable.numpy() + 0.1 * rng.normal(size=variable.shape)
        if "moving_variance" in variable.path:
            value = rng.uniform(0.5, 1.5, variable.shape)
        variable.assign(rounded(value))


def tidy(variables):
    for variable in variables:
        value = variable.numpy()
        if value.dtype.kind == "f" and "bank" not in variable.path:
            if "moving_variance" in variable.path:
                value = np.maximum(value, 0.25)
            variable.assign(value.astype("float16").astype(value.dtype))


def train(model, task, folder):
    """A real state, of one epoch, but in numbers of few digits."""
    x, y = inputs(task)
    points, labels = clouds()
    split = Split(points, labels, ("a", "b", "c"), name="clouds")
    recipe = Recipe(epochs=2, batch_size=2, warmup_epochs=1)
    path = folder / "state.npz"
    state = TrainingCheckpoint(path, identity(model, recipe, split))
    if task == "pretrain":
        model.compile("adamw")
    else:
        model.compile(metrics=[])
    model.fit(x, y, batch_size=2, shuffle=False, callbacks=[state], verbose=0)
    tidy([*model.variables, *model.optimizer.variables])
    state.save(1)


def write(name):
    backbone, method, arguments, *task = CASES[name]
    task = task[0] if task else "class"
    keras.utils.set_random_seed(0)
    model = build(*CASES[name])
    stir(model)
    backend = keras.config.backend()
    archive = name if backend == "torch" else f"{name}_{backend}"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if getattr(model.backbone.peft, "prior", False):
            points, labels = clouds()
            bank = peft.PriorBank.build(
                model, np.tile(points, (3, 1, 1)), np.tile(labels, 3), verbose=0
            )
            bank.attach(model)
            bank.save(folder / "bank.npz")
        train(model, task, folder)
        np.savez(folder / "outputs.npz", **outputs(model, task))
        save(model, task, folder)
        with tarfile.open(
            FOLDER / f"{archive}.tar.xz", "w:xz", preset=9
        ) as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)


def save(model, task, folder):
    model.save(folder / "model.keras")
    if task == "pretrain":
        model.backbone.save_to_preset(folder / "preset")
        return
    model.save_to_preset(folder / "preset")
    model.save_adapter(folder / "adapter")
    if model.backbone.peft.__class__.__name__ == "DAPT":
        from keras_pointpeft.adapters import export_safetensors

        export_safetensors(folder / "adapter", folder / "adapter.safetensors")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        write(name)
