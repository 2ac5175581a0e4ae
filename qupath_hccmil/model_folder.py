"""A model folder: ``weights.safetensors``, ``config.json`` and a model card, checked on loading."""
