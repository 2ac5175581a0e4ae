"""The research-use notices that every output carries, each worded once."""

RESEARCH_USE = "For research use only; not for diagnosis or treatment."
SURROGATE = "The risk model is a surrogate trained on simulated labels: its numbers mean nothing."
