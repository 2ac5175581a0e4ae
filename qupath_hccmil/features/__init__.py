"""Features of the tiles of slides: computing them, and their files, ours and other programs'."""
