"""Export of tasks from torch: as a program of PyTorch, and as ONNX.

Keras traces a model with a batch of one cloud of one point, and with the fast
paths of this process, which are no part of a program. Here it is traced with
sampling and neighbours as operators of their own. A program for PyTorch has
them written out; ONNX has a loop and a search for the smallest.
"""

import json
import pathlib

import keras
import numpy as np
import torch

from keras_pointpeft.files.whole import whole_file
from keras_pointpeft.models.export.torch import written_out

FORMATS = ("onnx", "torch")
ABOUT = "keras_pointpeft"
# How far logits of ONNX Runtime may be from those of torch.
TOLERANCE = 1e-4
# What ONNX has no operator for.
MISSING = {torch.ops.aten.linalg_eigh.default: "eigenvectors"}


def export(task, filepath, format, input_signature=None, opset_version=None):
    """Exports a task from torch.

    Args:
        task: a task.
        filepath: path to write to, ending in `.onnx` or `.pt2`.
        format: `"onnx"` or `"torch"`.
        input_signature: optional list of one `keras.InputSpec`, or of one
            dict of them for a task with several inputs. A size of None may be
            any later. By default batch and number of points are None.
        opset_version: optional int, of ONNX.

    Returns:
        the path.

    Raises:
        ValueError: for another ending, sizes that the model cannot have, or
            a method that ONNX cannot express.
        ImportError: if onnx, onnxscript or onnxruntime is missing.
        RuntimeError: if ONNX Runtime does not give the task's output; no
            file is left then.
    """
    filepath = pathlib.Path(filepath)
    ending = {"onnx": ".onnx", "torch": ".pt2"}[format]
    if filepath.suffix != ending:
        raise ValueError(
            f"The format {format!r} is written to a file that ends in "
            f"{ending}. Received: {str(filepath)!r}"
        )
    specs = _specs(task, input_signature)
    several = isinstance(task.input, dict)
    dynamic = _dynamic(task, specs)
    # The second example has other sizes, which shows whether tracing has fixed
    # a size that should be free.
    examples = [_example(task, specs, more) for more in (0, 1)]
    given = [e if several else e["points"] for e in examples]
    trained = task.training
    task.eval()
    try:
        with torch.no_grad():
            program = torch.export.export(
                task,
                (given[0],),
                strict=False,
                dynamic_shapes=[(dynamic if several else dynamic["points"],)],
            )
            expected = [task(inputs) for inputs in given]
    finally:
        task.train(trained)
    _drop_empty_squeezes(program.graph)
    # What the model was trained on goes along.
    about = json.dumps(task.contract.to_dict())
    with whole_file(filepath) as place:
        if format == "torch":
            program = program.run_decompositions(written_out())
            torch.export.save(
                program, place, extra_files={"contract.json": about}
            )
        else:
            said = {"expects": task.contract.expects(), ABOUT: about}
            _write_onnx(program, place, dynamic, opset_version, said)
            _check_onnx(place, examples, expected)
    return filepath


def _check_onnx(filepath, examples, expected):
    """A wrong translation would otherwise go unnoticed."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        filepath, providers=["CPUExecutionProvider"]
    )
    for inputs, output in zip(examples, expected):
        inputs = {name: x.cpu().numpy() for name, x in inputs.items()}
        (found,) = session.run(None, inputs)
        difference = np.abs(found - output.cpu().numpy()).max()
        if not difference <= TOLERANCE:
            raise RuntimeError(
                "ONNX Runtime does not give this task's output, so that no "
                "file was written; format='torch' may do, or "
                "'tf_saved_model' on tensorflow. Received: a difference of "
                f"{difference}"
            )


def _drop_empty_squeezes(graph):
    """Removes squeezes of axes that are longer than 1.

    In torch they do nothing; in ONNX they are an error. Keras makes some.
    """
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.squeeze.dim:
            continue
        source, axis = node.args
        size = source.meta["val"].shape[axis]
        if not (isinstance(size, int) and size == 1):
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def _write_onnx(program, filepath, dynamic, opset_version, said):
    for node in program.graph.nodes:
        if node.target in MISSING:
            raise ValueError(
                f"ONNX has no {MISSING[node.target]}, which this model's "
                "method computes: use format='torch', or 'tf_saved_model' on "
                f"tensorflow. Received: an operator {node.target}"
            )
    try:
        import onnxruntime  # noqa: F401
        import onnxscript

        from keras_pointpeft.models.export import onnx
    except ImportError as error:
        raise ImportError(
            "Export to ONNX needs `pip install keras-pointpeft[export]`. "
            f"Received: {error}"
        ) from error
    found = torch.onnx.export(
        program,
        dynamo=True,
        input_names=list(dynamic),
        output_names=["output"],
        opset_version=opset_version,
        custom_translation_table=onnx.translations(),
        verbose=False,
        # The optimizer removes the addition of 1e-8 that keeps the inverse of
        # a distance finite. Runtimes optimize by themselves.
        optimize=False,
    )
    onnxscript.optimizer.inline(found.model)
    onnxscript.optimizer.fold_constants(found.model)
    onnxscript.optimizer.remove_unused_nodes(found.model)
    _name_sizes(found.model.graph, dynamic)
    found.model.metadata_props.update(said)
    found.save(filepath)


def _name_sizes(graph, dynamic):
    """Calls a size that may be any by its name, where a user sees it."""
    names = {}
    for value, sizes in zip(graph.inputs, dynamic.values()):
        for axis, size in sizes.items():
            names[str(value.shape[axis])] = size.__name__
    for value in (*graph.inputs, *(x for node in graph for x in node.outputs)):
        for axis, size in enumerate(value.shape or ()):
            if str(size) in names:
                value.shape[axis] = names[str(size)]


def _specs(task, signature):
    """What each input is, by name, in the order of the task's own."""
    expected = task.input
    specs = signature or expected
    if isinstance(specs, (list, tuple)) and len(specs) == 1:
        (specs,) = specs
    if not isinstance(expected, dict):
        expected, specs = {"points": expected}, {"points": specs}
    if not isinstance(specs, dict) or set(specs) != set(expected):
        raise ValueError(
            "`input_signature` must be a list of one dict of "
            f"`keras.InputSpec`, of {list(expected)}. Received: {signature}"
        )
    shape, fewest = tuple(specs["points"].shape), task.fewest_points
    if shape[1] is not None and shape[1] < fewest:
        raise ValueError(
            f"The patches of this model need {fewest} points. Received: "
            f"an input of shape {shape}"
        )
    return {name: specs[name] for name in expected}


def _dynamic(task, specs):
    """By name, which sizes may be any, and what they are called."""
    batch = torch.export.Dim("batch", min=1)
    points = torch.export.Dim("points", min=task.fewest_points)
    return {
        name: {
            axis: points if axis else batch
            for axis, size in enumerate(spec.shape)
            if size is None
        }
        for name, spec in specs.items()
    }


def _example(task, specs, more):
    """Inputs by name; sizes that may be any are larger by `more`."""
    # Not 1: torch treats a size of 1 as a constant.
    free = (2 + more, max(2, 2 * task.fewest_points) + more)
    generator = torch.Generator().manual_seed(more)
    made = {}
    for name, spec in specs.items():
        sizes = [
            free[axis] if size is None else size
            for axis, size in enumerate(spec.shape)
        ]
        dtype = keras.backend.standardize_dtype(spec.dtype)
        if dtype.startswith("int"):
            made[name] = torch.zeros(sizes, dtype=getattr(torch, dtype))
        else:
            made[name] = torch.randn(sizes, generator=generator)
    return made
