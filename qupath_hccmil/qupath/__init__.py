"""QuPath projects; the only package that knows about QuPath."""
