"""Export of tasks from torch: as a program of PyTorch, and as ONNX.

Keras traces a model with a batch of one cloud of one point, and with the fast
paths of this process, which are no part of a program. Here it is traced with
sampling and neighbours as operators of their own. A program for PyTorch has
them written out; ONNX has a loop and a search for the smallest.
"""

import os
import pathlib

import keras
import numpy as np
import torch

from keras_pointpeft.models.exporting_torch import written_out

FORMATS = ("onnx", "torch")
# Of logits, between ONNX Runtime and torch.
TOLERANCE = 1e-4


def export(task, filepath, format, input_signature=None, opset_version=None):
    """Exports a task from torch.

    Args:
        task: a task.
        filepath: path to write to, ending in `.onnx` or `.pt2`.
        format: `"onnx"` or `"torch"`.
        input_signature: optional list of one `keras.InputSpec`, or a dict of
            them for a task with several inputs. A size of None may be any
            later. By default the batch and the number of points are None.
        opset_version: optional int, of ONNX.

    Returns:
        the path.

    Raises:
        ValueError: for another ending, or sizes that the model cannot have.
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
    specs = input_signature or task.input
    if isinstance(specs, (list, tuple)) and len(specs) == 1:
        (specs,) = specs
    example, dynamic = _example(task, specs)
    trained = task.training
    task.eval()
    with torch.no_grad():
        expected = task(example)
        program = torch.export.export(
            task, (example,), strict=False, dynamic_shapes=[(dynamic,)]
        )
    task.train(trained)
    _drop_empty_squeezes(program.graph)
    if format == "torch":
        program = program.run_decompositions(written_out())
        torch.export.save(program, filepath)
        return filepath
    temporary = filepath.with_name(filepath.name + ".part")
    try:
        _write_onnx(program, temporary, specs, opset_version)
        _check_onnx(temporary, example, expected)
        os.replace(temporary, filepath)
    finally:
        temporary.unlink(missing_ok=True)
    return filepath


def _check_onnx(filepath, example, expected):
    """A wrong translation would otherwise go unnoticed."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        filepath, providers=["CPUExecutionProvider"]
    )
    given = example if isinstance(example, dict) else {"points": example}
    given = {name: tensor.cpu().numpy() for name, tensor in given.items()}
    (found,) = session.run(None, given)
    difference = np.abs(found - expected.cpu().numpy()).max()
    if not difference <= TOLERANCE:
        raise RuntimeError(
            "ONNX Runtime does not give this task's output, so that no file "
            "was written; format='torch' may do, or 'tf_saved_model' on "
            f"tensorflow. Received: a difference of {difference}"
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


def _write_onnx(program, filepath, specs, opset_version):
    try:
        import onnxruntime  # noqa: F401

        from keras_pointpeft.models import exporting_onnx
    except ImportError as error:
        raise ImportError(
            "Export to ONNX needs `pip install keras-pointpeft[export]`. "
            f"Received: {error}"
        ) from error
    names = sorted(specs) if isinstance(specs, dict) else ["points"]
    found = torch.onnx.export(
        program,
        dynamo=True,
        input_names=names,
        output_names=["output"],
        opset_version=opset_version,
        custom_translation_table=exporting_onnx.translations(),
        verbose=False,
    )
    found.optimize()
    found.save(filepath)


def _example(task, specs):
    """Inputs to trace with, and which of their sizes may differ later."""
    fewest = task.backbone.fewest_points
    batch = torch.export.Dim("batch", min=1)
    points = torch.export.Dim("points", min=fewest)
    if isinstance(specs, dict):
        made = {k: _one(s, fewest, batch, points) for k, s in specs.items()}
        return (
            {name: example for name, (example, _) in made.items()},
            {name: dynamic for name, (_, dynamic) in made.items()},
        )
    return _one(specs, fewest, batch, points)


def _one(spec, fewest, batch, points):
    sizes, dynamic = [], {}
    for axis, size in enumerate(spec.shape):
        if size is None and axis == 0:
            # Of a size of 1, torch takes it that it always is 1.
            size, dynamic[axis] = 2, batch
        elif size is None:
            size, dynamic[axis] = max(2 * fewest, 2), points
        elif axis == 1 and size < fewest:
            raise ValueError(
                f"The patches of this model need {fewest} points. Received: "
                f"an input of shape {tuple(spec.shape)}"
            )
        sizes.append(size)
    dtype = keras.backend.standardize_dtype(spec.dtype)
    if dtype.startswith("int"):
        return torch.zeros(sizes, dtype=getattr(torch, dtype)), dynamic
    generator = torch.Generator().manual_seed(0)
    return torch.randn(sizes, generator=generator), dynamic
