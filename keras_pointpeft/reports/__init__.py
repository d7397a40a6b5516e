"""Figures of results, and the report of a run. They need the extra `viz`."""

from keras_pointpeft.reports.run import load_splits
from keras_pointpeft.reports.run import missing_packages
from keras_pointpeft.reports.run import read_run
from keras_pointpeft.reports.run import write_report
from keras_pointpeft.reports.run import write_task_report

__all__ = [
    "load_splits",
    "missing_packages",
    "read_run",
    "write_report",
    "write_task_report",
]
