"""What trains under a method, part by part."""

import numpy as np
from rich.console import Console
from rich.table import Table


def summary(task, print_fn=print):
    """Reports what trains, part by part.

    Args:
        task: a task with a `backbone`.
        print_fn: called with the printed table; None prints nothing.

    Returns:
        dict with `"components"` (name to trainable parameters), `"head"`,
        `"trainable"`, `"trainable_without_head"`, `"total"`, `"share"`
        (trainable of all) and `"share_without_head"`.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    print(keras_pointpeft.adapters.summary(model))
    ```
    """
    peft = task.backbone.peft
    of_backbone = {id(v) for v in task.backbone.weights}
    kept = set()
    if peft is not None:
        kept = {v.path for v in task.backbone.weights if peft.keeps(v.path)}
    components, head, total = {}, 0, 0
    for variable in task.weights:
        if "seed_generator" in variable.path or "/moving_" in variable.path:
            continue
        if variable.path in kept:
            continue
        size = int(np.prod(variable.shape))
        total += size
        if not variable.trainable:
            continue
        if id(variable) not in of_backbone:
            head += size
            continue
        name = "backbone" if peft is None else peft.component(variable.path)
        components[name] = components.get(name, 0) + size
    trainable = sum(components.values()) + head
    report = {
        "components": components,
        "head": head,
        "trainable": trainable,
        "trainable_without_head": trainable - head,
        "total": total,
        "share": trainable / total,
        "share_without_head": (trainable - head) / (total - head),
    }
    if print_fn is not None:
        print_fn(_table(report, peft))
    return report


def _table(report, peft):
    method = "full" if peft is None else type(peft).__name__
    table = Table(title=f"Trainable parameters: {method}")
    table.add_column("component")
    table.add_column("parameters", justify="right")
    for name, size in report["components"].items():
        table.add_row(name, f"{size:,}")
    table.add_row("head", f"{report['head']:,}", end_section=True)
    for name, size, share in (
        ("without head", "trainable_without_head", "share_without_head"),
        ("trainable", "trainable", "share"),
    ):
        table.add_row(name, f"{report[size]:,} ({report[share]:.2%})")
    table.add_row("all", f"{report['total']:,}")
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
