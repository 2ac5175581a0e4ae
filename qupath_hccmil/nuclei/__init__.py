"""Nuclei segmentation: U-Net, loss, data, training, evaluation."""
