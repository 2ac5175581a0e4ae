"""Results of slides as files: written by many readers, taken into a project by one writer."""
