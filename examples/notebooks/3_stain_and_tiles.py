# %% [markdown]
# # The stain of a slide and its tiles
#
# One slide without a QuPath project: its two stains, the scores of its tiles, and where they are.
# Nothing is written. For research use only.

# %%
import matplotlib.pyplot as plt
import numpy as np
from shapely.geometry import box

import qupath_hccmil as hm

slide_path = hm.make_demo_project("notebook-demo", drawn=True, drawn_size=(3000, 2400)).slide

# %% [markdown]
# ## The two stains
#
# Optical density of haematoxylin and eosin in red, green and blue, estimated once per slide
# (Vahadane). Every tile is brought to the stains of the model's reference before it is scored.

# %%
stain = hm.fit_stain(slide_path)
for name, density in zip(("haematoxylin", "eosin"), stain.matrix, strict=True):
    print(f"{name}: {np.round(density, 3)}")

# %% [markdown]
# ## Scores of tiles
#
# An outline is any shapely geometry in level-0 pixels. Two outlines are given here; each has a
# score of its own, and each tile counts once for the slide.

# %%
outlines = [box(512, 512, 2048, 1024), box(512, 1024, 1536, 1536)]
score = hm.score_slide(slide_path, outlines)
print(f"slide: risk {score.risk:.4f} ({score.group}), {len(score.tiles)} tiles")
for number, outline in score.annotations.items():
    print(f"outline {number}: risk {outline.risk:.4f}, {len(outline.rows)} tiles")

# %%
with hm.open_slide(slide_path) as slide:
    picture = slide.thumbnail(800)
    width, height = slide.width, slide.height
figure, axes = plt.subplots(figsize=(7, 5.5))
axes.imshow(picture, extent=(0, width, height, 0))
centres = score.tiles.bounds[:, :2] + score.tiles.bounds[:, 2:] / 2
dots = axes.scatter(*centres.T, c=score.tiles.risk, cmap="cividis", vmin=0, vmax=1, s=60)
figure.colorbar(dots, label="Risk of the tile")
axes.set_xlabel("x, level-0 px")
axes.set_ylabel("y, level-0 px")
