"""Changes files completely or not at all, keeps backups, and restores them."""
