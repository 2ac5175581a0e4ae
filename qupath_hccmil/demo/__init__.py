"""A QuPath project with a real or drawn H&E slide, for a demonstration."""
