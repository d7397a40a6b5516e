"""Which published names a model's variables have: who registers what.

A file of this folder is about one backbone, one method or the heads of tasks.
It holds a table of names and registers it; loading, writing and verification
ask here.
"""

import dataclasses
import re
from collections.abc import Callable

from keras_pointpeft.checkpoints.names import NameMap
from keras_pointpeft.checkpoints.names import row
from keras_pointpeft.checkpoints.names import translate

PRETRAINED = "pre-trained"
POST_PRETRAINED = "post-pre-trained"
FINE_TUNED = "fine-tuned"
STAGES = (PRETRAINED, POST_PRETRAINED, FINE_TUNED)

# Reasons that several layouts give.
PRETRAINING = "part of the pre-training, not of the backbone"
TEACHER = "a teacher or tokenizer of the pre-training"
NO_CLASS_TOKEN = "the pre-training has no class token"

# Of one shape; their files differ in what is around it.
PLAIN = ("PointMAEBackbone", "ACTBackbone", "PointPQAEBackbone")


@dataclasses.dataclass(frozen=True)
class Layout:
    """What published files call the variables of a model, or of a part.

    Attributes:
        names: `NameMap` from our variables to their parameters.
        differences: dict from a variable of ours to the name of a parameter
            of theirs that already has it added: published code trains it in
            place, ours keeps the frozen value and the difference to it.
        aliases: dict from a second name that files have for a tensor to the
            first.
        unread: dict from a regular expression on their names to the reason
            why published code itself does not read such a tensor.
        axes: dict from a regular expression on their names to the number of
            axes that the tensor has there, where it is not ours: point-wise
            convolutions are matrices here.
        extra: tuple of functions of the model that return a dict of the
            tensors `unread`, for writing.
        initial: dict from a regular expression on our paths to the reason
            why no file has such a variable.
    """

    names: NameMap
    differences: dict = dataclasses.field(default_factory=dict)
    aliases: dict = dataclasses.field(default_factory=dict)
    unread: dict = dataclasses.field(default_factory=dict)
    axes: dict = dataclasses.field(default_factory=dict)
    extra: tuple = ()
    initial: dict = dataclasses.field(default_factory=dict)

    def __or__(self, other):
        """Both layouts' rows; those of `other` win."""
        return Layout(
            self.names | other.names,
            self.differences | other.differences,
            self.aliases | other.aliases,
            self.unread | other.unread,
            self.axes | other.axes,
            self.extra + other.extra,
            self.initial | other.initial,
        )

    def prefixed(self, prefix):
        """The same with `prefix` before all of their names."""
        if not prefix:
            return self

        def behind(patterns):
            start = "^" + re.escape(prefix)
            return {
                pattern.replace("^", start, 1): value
                for pattern, value in patterns.items()
            }

        return Layout(
            self.names.prefixed(prefix),
            {k: prefix + v for k, v in self.differences.items()},
            {prefix + k: prefix + v for k, v in self.aliases.items()},
            behind(self.unread),
            behind(self.axes),
            tuple(_prefixed(make, prefix) for make in self.extra),
            self.initial,
        )

    def difference(self, path):
        """Their name of what the variable is a part of, or None."""
        rows = [row(*pair) for pair in self.differences.items()]
        return translate(rows, path)

    def alias(self, name):
        """The first name of a tensor that has two, or None."""
        rows = [row(*pair) for pair in self.aliases.items()]
        return translate(rows, name)

    def parameter(self, path):
        """Their name of the parameter that the variable stands for."""
        return self.difference(path) or self.names(path)


def _prefixed(make, prefix):
    return lambda model: {prefix + k: v for k, v in make(model).items()}


@dataclasses.dataclass(frozen=True)
class Source:
    """A kind of published checkpoint.

    Attributes:
        title: string, for messages.
        backbones: tuple of the backbone classes that it fits.
        signs: tuple of regular expressions; each is found in some name.
        prefix: string before the backbone's names.
        ignored: dict from a regular expression on the file's names to the
            reason why such a tensor is left out.
        initial: dict from a regular expression on our paths to the reason
            why such a variable keeps its initial value.
        pretrained: bool. Whether it comes from pre-training, so that a head
            and a method start fresh.
        without: tuple of regular expressions; none is found in any name.
        test: optional function of the state dict, what else tells.
        stage: string, one of `STAGES`; told from `pretrained` by default.
    """

    title: str
    backbones: tuple
    signs: tuple
    prefix: str = ""
    ignored: dict = dataclasses.field(default_factory=dict)
    initial: dict = dataclasses.field(default_factory=dict)
    pretrained: bool = True
    without: tuple = ()
    test: Callable | None = None
    stage: str = ""

    def __post_init__(self):
        stage = PRETRAINED if self.pretrained else FINE_TUNED
        object.__setattr__(self, "stage", self.stage or stage)

    def fits(self, state):
        """Whether a state dict is of this kind."""

        def found(pattern):
            return any(re.search(pattern, name) for name in state)

        return (
            all(map(found, self.signs))
            and not any(map(found, self.without))
            and (self.test is None or bool(self.test(state)))
        )


@dataclasses.dataclass(frozen=True)
class Method:
    """A method whose published names are known.

    Attributes:
        title: string, for messages.
        layout: function of a model that returns a `Layout`.
        sign: regular expression, found in names of files that it left.
        mode: function of a state dict that returns the constructor arguments
            with which the method computes what its published code computes.
        trunks: dict from a backbone class to the one that its published
            classifiers have in its place.
    """

    title: str
    layout: Callable
    sign: str
    mode: Callable
    trunks: dict


BACKBONES = {}
METHODS = {}
TASKS = {}
SOURCES = []


@dataclasses.dataclass(frozen=True)
class Trunk:
    """A backbone whose published names are known.

    Attributes:
        layout: function of the backbone that returns a `Layout`.
        prefix: string before its names in a pre-trained file.
        head: string, the published head's module.
        segmentation: optional `Layout` of its published segmentation model,
            beside the backbone.
    """

    layout: Callable
    prefix: str = ""
    head: str = "cls_head_finetune"
    segmentation: Layout | None = None


def register_backbone(name, layout, sources=(), **kwargs):
    """Makes a backbone's published names known.

    Args:
        name: string, its class.
        layout: `Layout`, or a function of the backbone that returns one.
        sources: tuple of `Source`s, the kinds of files that there are.
        **kwargs: further fields of `Trunk`.
    """
    make = (lambda _: layout) if isinstance(layout, Layout) else layout
    BACKBONES[name] = Trunk(make, **kwargs)
    SOURCES.extend(sources)


def register_method(name, title, layout, sign, mode=None, trunks=None):
    """Makes a method's published names known; see `Method`."""
    make = (lambda _: layout) if isinstance(layout, Layout) else layout
    chosen = mode if callable(mode) else lambda state: dict(mode or {})
    METHODS[name] = Method(title, make, sign, chosen, trunks or {})


def register_task(*names):
    """Registers a function of a task and its backbone's `Layout`.

    Args:
        *names: strings, the task's classes.
    """

    def register(function):
        TASKS.update(dict.fromkeys(names, function))
        return function

    return register


def trunk_of(model):
    """The `Trunk` of a model's backbone.

    Raises:
        ValueError: if no layout is known for it.
    """
    kind = type(getattr(model, "backbone", model)).__name__
    if kind not in BACKBONES:
        raise ValueError(
            f"Published checkpoints are known for {sorted(BACKBONES)}. "
            f"Received: a {kind}"
        )
    return BACKBONES[kind]


def method_of(model):
    """The `Method` of a model, or None if its names are not known."""
    backbone = getattr(model, "backbone", model)
    return METHODS.get(type(backbone.peft).__name__)


def layout_of(model, tuned=True):
    """What published files call all variables of a model.

    Args:
        model: a `keras_pointpeft.models.PointBackbone`, a task with one, or a
            model that pre-trains one.
        tuned: bool. Whether files have what the model's method adds, and its
            names for the rest.

    Returns:
        A `Layout`.

    Raises:
        ValueError: if no layout is known for the backbone, or files have
            other weights than the method as it is set up.
    """
    backbone = getattr(model, "backbone", model)
    layout = trunk_of(model).layout(backbone)
    if model is not backbone:
        for cls in type(model).__mro__:
            if cls.__name__ in TASKS:
                layout = TASKS[cls.__name__](model, layout)
                break
    method = method_of(model) if tuned else None
    return layout if method is None else layout | method.layout(model)


def method_in(state):
    """The class of the method that left its tensors in a file, or None."""
    for name, method in METHODS.items():
        if any(re.search(method.sign, found) for found in state):
            return name
    return None


def mode_of(state, backbone, method):
    """What a preset must be built with for a file of this layout.

    Args:
        state: dict from name to array, as `identify` returns it.
        backbone: string, the preset's backbone class.
        method: string, the preset's method class.

    Returns:
        The backbone class of the published model, and a dict of the method's
        constructor arguments.
    """
    known = METHODS.get(method)
    if known is None:
        return backbone, {}
    return known.trunks.get(backbone, backbone), known.mode(state)
