"""Run staintools on an image in a fresh process and print what it finds; see `test_vahadane`.

``python staintools_runs.py IMAGE.npy TARGET.npy OUT.npz``
"""

import sys
from typing import Any

import numpy as np
import spams
import staintools

iterations: list[int] = []
_train = spams.trainDL


def _counted(**arguments: Any) -> np.ndarray:
    # staintools learns for a second of wall clock; how far it came is known to the model only.
    # One thread: several spin for each other, and on a busy machine come 50 times less far.
    dictionary, model = _train(return_model=True, numThreads=1, **arguments)
    iterations.append(int(model["iter"]))
    return dictionary


def main(image: str, target: str, out: str) -> None:
    spams.trainDL = _counted
    source = staintools.LuminosityStandardizer.standardize(np.load(image))
    normalizer = staintools.StainNormalizer(method="vahadane")
    normalizer.fit(staintools.LuminosityStandardizer.standardize(np.load(target)))
    matrix = staintools.VahadaneStainExtractor.get_stain_matrix(source.copy())
    normalised = normalizer.transform(source.copy())
    np.savez(
        out,
        matrix=matrix,
        target_matrix=normalizer.stain_matrix_target,
        normalised=normalised,
        iterations=min(iterations),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
