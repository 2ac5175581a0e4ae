"""QuPath projects: the only room that knows QuPath."""
