"""torch: a step around our models that `torch.compile` works on."""

import torch


def check_not_compiled():
    """Raises ValueError within a function that is being compiled.

    A program that is exported is no such function.
    """
    compiler = torch.compiler
    if compiler.is_dynamo_compiling() and not compiler.is_exporting():
        _refuse()


# The compiler leaves it alone, and so calls it: what is raised while it reads
# a function makes it give that function up, and go on with those inside.
@torch.compiler.disable
def _refuse():
    raise ValueError(
        "A step of this model takes `torch.compile` many minutes. "
        "Compile the model around it with `jit_compile=False`. By itself it "
        "is fast without, see `keras_pointpeft.step_report`. "
        "Received: a call from a compiled function"
    )
