"""What every output says of itself, worded once."""

RESEARCH_USE = "For research use only; not for diagnosis or treatment."
SURROGATE = "The risk model is a surrogate trained on simulated labels: its numbers mean nothing."
