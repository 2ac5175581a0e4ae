"""Heads of a risk model: from the features of a patient's tiles to a logit, and their training."""
