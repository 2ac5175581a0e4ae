"""Access to an image's objects through the user's own QuPath, started by paquo."""
