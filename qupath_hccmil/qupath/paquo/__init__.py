"""The objects of an image through the user's own QuPath, started by paquo."""
