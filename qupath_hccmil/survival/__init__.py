"""From scores to evidence: tables in, statistics, figures and a report out.

This room knows neither slides nor QuPath. Every analysis is a function on a table that has a row a
patient and the columns ``time`` (any one unit, not negative) and ``event`` (0 censored, 1 event).
"""
