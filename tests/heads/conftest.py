"""Tiny networks train fastest on one thread, above all where tests run side by side."""

import torch

torch.set_num_threads(1)
