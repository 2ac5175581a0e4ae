"""Survival analysis: from tables of scores and follow-up to statistics, figures and a report.

This package knows neither slides nor QuPath. Every analysis is a function on a table with one row
per patient and the columns ``time`` (in any unit, not negative) and ``event`` (0 censored, 1
event).
"""
