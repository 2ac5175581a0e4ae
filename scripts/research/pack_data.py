"""Pack the open training data for a machine with a GPU: smaller, and with the stains fitted.

    python scripts/research/pack_data.py DATA OUT [--quality 85]

Images are written again as WebP, since such a machine may take only a few megabytes, and DATA is
80 MB. Stains are fitted on the images of DATA and stored in OUT/stains.json, so that the trainings
need no dictionary learning there. The scripts of this folder take OUT in the place of DATA.
"""

import argparse
import json
import shutil
from pathlib import Path

from drawn_tiles import DEMO_SEED, DRAWN, fit_drawn
from open_data import SOURCES, STAINS, fit_stains
from PIL import Image

from qupath_hccmil.nuclei.image_mask_folders import find_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quality", type=int, default=85)
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    stains = {}
    for name, source_of in SOURCES.items():
        source = source_of(data)
        for folder in (source.images, source.masks):
            (out / folder.relative_to(data)).mkdir(parents=True, exist_ok=True)
        for pair in find_pairs(source.images, source.masks)[0]:
            image = out / pair.image.relative_to(data).with_suffix(".webp")
            Image.open(pair.image).convert("RGB").save(image, quality=arguments.quality, method=6)
            shutil.copy(pair.mask, out / pair.mask.relative_to(data))
        stains[name] = {key: fit.to_dict() for key, fit in fit_stains(data, name).items()}
        print(f"{name}: {len(stains[name])} stain fits", flush=True)
    seeds = [DEMO_SEED, *(seed for side in DRAWN.values() for seed in side)]
    stains["drawn"] = {str(seed): fit_drawn(seed).to_dict() for seed in seeds}
    shutil.copy(data / "nuinsseg" / "organs.csv", out / "nuinsseg")
    (out / "weights").mkdir(exist_ok=True)
    shutil.copy(data / "weights" / "mobilenet_v2_imagenet.safetensors", out / "weights")
    (out / STAINS).write_text(json.dumps(stains), encoding="utf-8")


if __name__ == "__main__":
    main()
