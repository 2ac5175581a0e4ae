"""Multiple-instance learning of risk: tile network, aggregation, loss, training, evaluation."""
