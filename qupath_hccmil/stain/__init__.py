"""Vahadane stain normalisation: fitted once per slide, applied to whole batches."""
