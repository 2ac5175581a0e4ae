"""Every number of the published method, in one place (Liu et al., arXiv 2106.00090)."""

TILE_UM = 128.0
"""Side of a tile on the slide, µm: 512 px at 0.25 µm/px."""

TILE_MPP = 0.25
"""Pixel size at which tiles are read, µm/px (40×)."""

TILE_PX = 224
"""Side of a tile as the networks see it, px."""

POWER = 3.0
"""p of the signed generalised mean of tile logits."""

THRESHOLD = 0.4457
"""t: a risk above it is high. A threshold that is stored with a model overrides it."""

WEIGHT_PENALTY = 0.02
"""α of the loss: cross-entropy + α Σ w²."""

LEARNING_RATE = 1e-4
"""Learning rate of the first epochs."""

HALVE_EVERY = 10
"""Epochs after which the learning rate is halved."""

TILES_PER_PATIENT = 100
"""Random tiles of a patient in training: 57,415 tiles of 552 patients."""

GOOD_FOLLOW_UP_YEARS = 4.0
"""Good outcome: followed for at least this many years without recurrence."""

POOR_RECURRENCE_YEARS = 1.6
"""Poor outcome: recurrence within this many years, exclusive."""

DICE_EPSILON = 1e-8
"""ε of the Dice loss, which keeps the quotient finite."""

TILES_OF_INTEREST = 200
"""Number of highest and of lowest tiles of a cohort that pathologists reviewed."""
