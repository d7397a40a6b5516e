"""The sides of the benchmarks: functions that do one thing, once.

A side is a line of words: what does it, the preset, and changes such as
`remat=block`.

    dapt_pointmae_scanobjectnn              one of our training steps
    dapt_pointmae_scanobjectnn size=small groups=128
    plain dapt_pointmae_scanobjectnn        the same in `plain_torch.py`
    dapt_pointmae_scanobjectnn stem=kept    behind a cache
    stag_pointmae_scanobjectnn drop_path=0  without stochastic depth
    full_pointmae_scanobjectnn malloc=returning   glibc's malloc keeps nothing
                                            of a megabyte or more for later
    input dapt_pointmae_scanobjectnn        the making of a training batch
    made programs                           the making of clouds, whichever
    made shapes                             `data.load` makes
    adapter dapt_pointmae_scanobjectnn      a file with what was trained
    weights full_pointmae_scanobjectnn      a file with all weights
    sampling points=8192                    farthest point sampling
    plain sampling                          the classic loop
    fit dapt_pointmae_scanobjectnn          an epoch of `EPOCH` steps in `fit`
    grouping                                sampling, neighbours, patches
    plain grouping                          the same in eager torch
    cuda grouping                           the same in `plain_cuda.py`

`dtype=bfloat16` is our policy `mixed_bfloat16`, and autocast of the plain one.
"""

import dataclasses
import itertools
import pathlib
import tempfile
from contextlib import nullcontext

import numpy as np

# What `size=` stands for. Tiny: there is next to nothing to compute, what is
# left is what the host does. Small: a step takes a fraction of a second.
SIZES = {
    "tiny": {
        "points": 32,
        "groups": 8,
        "group_size": 4,
        "dim": 24,
        "encoder_dims": (8, 16, 32),
    },
    "small": {
        "points": 2048,
        "groups": 64,
        "group_size": 16,
        "dim": 96,
        "depth": 4,
        "encoder_dims": (32, 64, 128),
        "bank": 4096,
    },
}
# Points of a cloud in the files of a data set.
STORED_POINTS = {"modelnet40": 8192}
# Steps of an epoch.
EPOCH = 40


def parse(side):
    """The plain words of a side, and its changes: a dict of strings."""
    words = side.split()
    changes = dict(word.split("=") for word in words if "=" in word)
    return [word for word in words if "=" not in word], changes


def make(side, batch_size):
    """A function that does it once, and one of the bytes that it keeps."""
    (*kind, name), changes = parse(side)
    makers = {
        (): _ours,
        ("plain",): _plain,
        ("input",): _input,
        ("fit",): _fit,
        ("made",): _made,
    }
    return makers[tuple(kind)](name, batch_size, **changes)


def sizes_of(size=None, **numbers):
    """Sizes by name: those that `size` stands for, some of them changed."""
    numbers = {name: int(value) for name, value in numbers.items()}
    return {**SIZES.get(size, {}), **numbers}


# === Training steps ===


def _ours(
    name,
    batch_size,
    remat=None,
    without=None,
    stem=None,
    dtype=None,
    **sizes,
):
    from keras_pointpeft import ops
    from keras_pointpeft.experiments import cost
    from keras_pointpeft.models import frozen_stem
    from keras_pointpeft.training import Objective
    from keras_pointpeft.training import compile_for

    sizes = sizes_of(**sizes)
    preset, recipe, model = build(name, remat, sizes, dtype)
    objective = Objective(model)
    batch = _batch(preset, sizes.get("batch", batch_size), sizes)
    if stem == "kept":
        stem, model = frozen_stem.split(model)
        batch = stem.predict(batch[0], verbose=0), batch[1]
    compile_for(model, recipe, objective)
    placed = _on_device(batch)

    def step():
        # What it returns are the metrics, on the host: the step is done.
        off = ops.disable_accelerators(without) if without else nullcontext()
        with off:
            return cost.training_step(model, placed)

    return step, lambda: cost.kept_for_backward(model, *batch)


def _on_device(batch):
    """On a GPU, where the plain side has its batch too."""
    if torch_device() == "cpu":
        return batch
    import keras
    import torch

    return keras.tree.map_structure(
        lambda x: torch.tensor(x, device="cuda"), batch
    )


def build(name, remat=None, sizes=None, dtype=None):
    """A preset, its recipe, and its model with random weights and bank."""
    from keras_pointpeft import presets
    from keras_pointpeft.experiments import cost
    from keras_pointpeft.experiments import runs

    preset = presets.resolve(name)
    dtype = dtype and f"mixed_{dtype}"
    recipe = runs.recipe_for(preset, remat=remat, dtype=dtype)
    model = runs.build_model(
        preset,
        recipe,
        len(preset.class_names),
        weights="random",
        **_arguments(preset, sizes or {}),
    )
    cost.fill_bank(model)
    return preset, recipe, model


def _arguments(preset, sizes):
    """Arguments of a preset's model for other sizes than its own."""
    from keras_pointpeft import peft
    from keras_pointpeft import presets

    names = {
        "groups": "num_groups",
        "group_size": "group_size",
        "dim": "dim",
        "depth": "depth",
        "encoder_dims": "encoder_dims",
        "drop_path": "drop_path_rate",
    }
    found = {own: sizes[name] for name, own in names.items() if name in sizes}
    if preset.method == "pointpeft" and sizes:
        depth = sizes.get("depth", preset.backbone_config["depth"])
        config = {
            **preset.method_config,
            "bank_size": sizes["bank"],
            "prompt_blocks": depth // 2,
            # The patches of the backbone serve the look-up too.
            "prior_num_groups": None,
            "prior_group_size": None,
        }
        method = presets.find_class(preset.method_class, peft)
        found["peft"] = method(**config)
    return found


def _plain(name, batch_size, sampling=None, dtype=None, **sizes):
    """The same in plain PyTorch, with its own optimizer and clipping.

    With `sampling=cuda` its patches come from `plain_cuda.py`.
    """
    import plain_torch
    import torch

    from keras_pointpeft import presets
    from keras_pointpeft.experiments import cost

    sizes = sizes_of(**sizes)
    preset = presets.resolve(name)
    arguments = _arguments(preset, sizes)
    if preset.method == "dapt":
        arguments["rank"] = preset.method_config["rank"]
        arguments["dropout"] = preset.method_config["dropout"]
    drop_path = preset.backbone_config["drop_path_rate"]
    model = plain_torch.PointMAE(
        len(preset.class_names), drop_path=drop_path, **arguments
    )
    if sampling == "cuda":
        import plain_cuda

        model.cut = plain_cuda.patches
    device = torch_device()
    model.train().to(device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=preset.recipe["learning_rate"])
    batch = _batch(preset, sizes.get("batch", batch_size), sizes)
    points, labels = (torch.tensor(x, device=device) for x in batch)
    labels = labels.long()

    def loss():
        with torch.autocast(device, torch.bfloat16, enabled=bool(dtype)):
            scores = model(points)
        return torch.nn.functional.cross_entropy(scores.float(), labels)

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, preset.recipe["clip_norm"])
        optimizer.step()
        return value.item()

    own = [*model.parameters(), *model.buffers()]
    return step, lambda: cost.bytes_kept(loss, own)


def torch_device():
    """Where the sides compute; the CPU if not with torch."""
    import keras

    if keras.backend.backend() != "torch":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _batch(preset, batch_size, sizes):
    count = sizes.get("points", preset.num_points)
    return random_clouds(preset, batch_size, count)


def random_clouds(preset, batch_size, count):
    """Points `(batch, count, 3)` and labels."""
    rng = np.random.default_rng(0)
    shape = (batch_size, count, 3)
    points = rng.uniform(-1.0, 1.0, shape).astype("float32")
    labels = rng.integers(len(preset.class_names), size=batch_size)
    return points, labels.astype("int32")


# === The input pipeline ===


def _input(name, batch_size):
    """Batches as training makes them: chosen, sampled and augmented."""
    from keras_pointpeft import data
    from keras_pointpeft import presets
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.training import Objective

    preset = presets.resolve(name)
    recipe = runs.recipe_for(preset, batch_size=batch_size)
    stored = STORED_POINTS.get(preset.dataset, preset.num_points)
    clouds = random_clouds(preset, 4 * batch_size, stored)
    split = data.Split(*clouds, preset.class_names)
    batches = Objective(None).training_batches(split, recipe)
    turns = itertools.count()

    def step():
        # Another epoch every time: nothing is there from before.
        batches.epoch = next(turns)
        return batches[0]

    return step, None


def _fit(name, batch_size, **sizes):
    """An epoch as training makes it, batches and all."""
    from keras_pointpeft import data
    from keras_pointpeft.training import Objective
    from keras_pointpeft.training import compile_for

    preset, recipe, model = build(name, sizes=sizes_of(**sizes))
    recipe = dataclasses.replace(recipe, batch_size=batch_size)
    clouds = random_clouds(preset, EPOCH * batch_size, preset.num_points)
    split = data.Split(*clouds, preset.class_names)
    objective = Objective(model)
    compile_for(model, recipe, objective)
    batches = objective.training_batches(split, recipe)

    def step():
        model.fit(batches, verbose=0)

    return step, None


# === Files ===


def file_bytes(side):
    """The size of what a side writes, as after training."""
    (kind, name), changes = parse(side)
    _, _, model = build(name)
    # What starts at zero would be packed into nothing.
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = rng.normal(0.0, 0.02, variable.shape)
        variable.assign_add(noise.astype("float32"))
    with tempfile.TemporaryDirectory() as folder:
        if kind == "adapter":
            model.save_adapter(folder, state="without" not in changes)
        else:
            model.save_weights(f"{folder}/task.weights.h5")
        files = pathlib.Path(folder).rglob("*")
        return sum(file.stat().st_size for file in files)


# === Procedural clouds ===


def _made(name, batch_size, points=1024, start=0):
    """New clouds each time, and no bytes that are kept."""
    from keras_pointpeft import data

    starts = itertools.count(int(start), batch_size)

    def step():
        data.load(
            name,
            split="pretrain",
            num_clouds=batch_size,
            num_points=int(points),
            start=next(starts),
        )

    return step, lambda: 0


# === Sampling ===


def make_sampling(side, batch, points=2048, samples=128):
    """A function that samples and returns the indices."""
    import keras

    from keras_pointpeft import ops

    words, given = parse(side)
    without = given.pop("without", None)
    sizes = {"batch": batch, "points": points, "samples": samples}
    sizes |= {name: int(value) for name, value in given.items()}
    shape = (sizes["batch"], sizes["points"], 3)
    clouds = np.random.default_rng(0).uniform(-1.0, 1.0, shape)
    clouds = clouds.astype("float32")
    if words[0] == "plain":
        import plain_torch
        import torch

        clouds = torch.from_numpy(clouds).to(torch_device())
        return lambda: plain_torch.farthest_point_sample(
            clouds, sizes["samples"]
        ).cpu()
    clouds = keras.ops.convert_to_tensor(clouds)

    def step():
        off = ops.disable_accelerators(without) if without else nullcontext()
        with off:
            index = ops.farthest_point_sample(clouds, sizes["samples"])
        return keras.ops.convert_to_numpy(index)

    return step


def make_grouping(side, batch):
    """A function that cuts patches, and one that gives all it chose.

    That is centres and relative neighbourhoods as arrays. The first one waits
    for the device and copies nothing.
    """
    import torch

    from keras_pointpeft import ops

    words, given = parse(side)
    sizes = {"points": 2048, "groups": 128, "group_size": 32}
    sizes |= {name: int(value) for name, value in given.items()}
    groups, size = sizes["groups"], sizes["group_size"]
    shape = (batch, sizes["points"], 3)
    clouds = np.random.default_rng(0).uniform(-1.0, 1.0, shape)
    clouds = torch.tensor(clouds, dtype=torch.float32, device=torch_device())

    def ours():
        index = ops.farthest_point_sample(clouds, groups)
        centers = ops.gather(clouds, index)
        return centers, ops.group(clouds, centers, size)[1]

    if words[0] == "grouping":
        cut = ours
    else:
        import plain_cuda
        import plain_torch

        module = {"plain": plain_torch, "cuda": plain_cuda}[words[0]]

        def cut():
            return module.patches(clouds, groups, size)

    def step():
        cut()
        if clouds.is_cuda:
            torch.cuda.synchronize()

    return step, lambda: [tensor.cpu().numpy() for tensor in cut()]
