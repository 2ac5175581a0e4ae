# %% [markdown]
# # Score projects
#
# For pathologists and for batches: a QuPath project is made of slides, scored, and read back. The
# slide is drawn by this program, so nothing is downloaded; put your own project in its place. For
# research use only: the model that ships was trained on simulated outcomes.

# %%
from pathlib import Path

import qupath_hccmil as hm

demo = hm.make_demo_project("notebook-demo", drawn=True, drawn_size=(3000, 2400))
print("\n".join(demo.lines))

# %% [markdown]
# ## A project of your own slides
#
# `create_project` makes a project of files or folders, or adds slides to one that exists. A slide
# that cannot be read is reported, and the others are done. With `tissue=True` the tissue of slides
# without outlines is outlined as a region; a pathologist still has to outline the tumour.

# %%
damaged = Path("notebook-demo", "slides", "damaged.svs")
damaged.write_bytes(b"not a slide")
for slide in hm.create_project("notebook-project", [demo.slide, damaged], tissue=True):
    print(slide.name, slide.state, slide.reason)

# %% [markdown]
# ## Score
#
# Images are scored one after the other; one that fails is left as it was. Scores are written into
# the project as measurements and tiles, with a backup: close the project in QuPath first.

# %%
for outcome in hm.score_project(demo.project, max_tiles=12, seed=1):
    print(f"{outcome.image}: {outcome.status}, {outcome.tiles} tiles, risk {outcome.risk:.4f}")

# %% [markdown]
# A second run with `resume` scores only what is new or was edited.

# %%
for outcome in hm.score_project(demo.project, resume=True):
    print(f"{outcome.image}: {outcome.status}")

# %% [markdown]
# ## Where are the tiles with the highest risk?
#
# A table with one row per tile; its columns are those of `qupath-hccmil export`.

# %%
tiles = hm.tile_scores(demo.project)
columns = ["annotation_name", "x_px", "y_px", "tile_risk", "tile_nuclei_fraction"]
print(tiles.nlargest(5, "tile_risk")[columns].to_string(index=False))
