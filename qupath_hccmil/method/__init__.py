"""The published method and nothing else: numbers, formulas and rules, in pure numpy."""
