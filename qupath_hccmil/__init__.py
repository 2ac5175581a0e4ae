"""Risk of recurrence of hepatocellular carcinoma, scored inside QuPath projects.

For research use only. The method is MobileNetV2_HCC_Class (Liu et al., arXiv 2106.00090).
"""

__version__ = "0.1.0"
