"""Figures of results, and the report of a run. They need the extra `viz`."""

from keras_pointpeft import lazy

__getattr__, __dir__, __all__ = lazy.face(
    __name__,
    {
        "load_splits": "reports.run",
        "missing_packages": "reports.run",
        "read_run": "reports.run",
        "write_report": "reports.run",
        "write_task_report": "reports.run",
    },
    ("inspection", "palette", "pareto"),
)
