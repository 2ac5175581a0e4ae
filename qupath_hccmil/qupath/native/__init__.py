"""QuPath's own files, read and written without QuPath and without Java."""
