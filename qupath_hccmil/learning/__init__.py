"""Code that both trainings share: checkpoint, log, device, splits."""
