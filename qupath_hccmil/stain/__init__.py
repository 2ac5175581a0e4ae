"""Vahadane stain normalisation: fitted once a slide, applied to whole batches."""
