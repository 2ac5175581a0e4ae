"""Files that are changed whole or not at all, kept as backups, and brought back."""
