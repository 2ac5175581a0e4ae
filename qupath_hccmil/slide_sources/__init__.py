"""The slides of a user: images of a QuPath project, files in a folder, or rows of a table."""
