"""Judgement of a group's own model: nested cross-validation, comparisons, warnings, report."""
