"""What both trainings share: checkpoint, log, device, splits."""
