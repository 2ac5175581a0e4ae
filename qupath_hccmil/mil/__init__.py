"""Multiple-instance risk: tile network, aggregation, loss, cohorts, training, evaluation."""
