"""The data of an analysis as CSV, and an R script that computes its numbers again."""
