"""Simulated patients whose hazard is a known function of the features of their tiles."""

import numpy as np

from qupath_hccmil.heads.feature_bag import ArrayBag
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.method.outcome_label import outcome

WIDTH = 8


def simulated(patients: int, tiles: int = 12, seed: int = 0, strength: float = 3.0):
    """Bags, outcomes and the hazards of their tiles; the first feature is the log hazard."""
    rng = np.random.default_rng(seed)
    bags, outcomes, hazards = {}, {}, {}
    for number in range(patients):
        name = f"p{number:03d}"
        features = rng.normal(size=(tiles, WIDTH)) + rng.normal(size=WIDTH)
        hazards[name] = features[:, 0]
        recurrence = rng.exponential(1 / (0.2 * np.exp(strength * hazards[name].mean())))
        end = rng.uniform(3, 12)
        time, event = float(min(recurrence, end)), bool(recurrence <= end)
        outcomes[name] = Outcome(time, event, outcome(time, int(event))[0])
        bags[name] = ArrayBag(name, (5 * features + 2).astype(np.float32))
    return bags, outcomes, hazards


def sides(bags, outcomes, loss, share=0.25):
    """Training and choosing patients that the loss can use."""
    usable = [bag for name, bag in bags.items() if outcomes[name].usable_for(loss)]
    cut = round(share * len(usable))
    return usable[cut:], usable[:cut]
