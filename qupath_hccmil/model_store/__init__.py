"""Model folders: weights, config and card, checked when they are read."""
