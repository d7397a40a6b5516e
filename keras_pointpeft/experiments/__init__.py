"""Runs of presets, comparisons of methods, and what a step costs."""
