"""A QuPath project with an H&E slide, real or drawn, to see the main job done."""
