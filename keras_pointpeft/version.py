"""The version of this package, which files carry."""

__version__ = "0.1.0"
