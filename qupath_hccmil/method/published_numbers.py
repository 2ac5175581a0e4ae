"""Every number of the published method, each in this one place (Liu et al., arXiv 2106.00090)."""

TILE_UM = 128.0
"""Side of a tile on the slide, µm: 512 px at 0.25 µm/px."""

TILE_MPP = 0.25
"""µm/px at which tiles are read: 40×."""

TILE_PX = 224
"""Side of a tile as the networks see it, px."""

POWER = 3.0
"""p of the generalised mean with sign that joins tile logits."""

THRESHOLD = 0.4457
"""t: a risk above it is high. A model's own threshold, stored with it, goes before this one."""

WEIGHT_PENALTY = 0.02
"""α of the loss: cross-entropy + α Σ w²."""

LEARNING_RATE = 1e-4
"""Learning rate of the first epochs."""

HALVE_EVERY = 10
"""Epochs after which the learning rate is halved."""

TILES_PER_PATIENT = 100
"""Random tiles of a patient in training: 57,415 tiles of 552 patients."""

GOOD_FOLLOW_UP_YEARS = 4.0
"""Good outcome: followed for at least so many years without recurrence."""

POOR_RECURRENCE_YEARS = 1.6
"""Poor outcome: recurrence within so many years, exclusive."""

DICE_EPSILON = 1e-8
"""ε of the Dice loss, which keeps its quotient finite."""

TILES_OF_INTEREST = 200
"""So many of the highest and of the lowest tiles of a cohort were read by pathologists."""
