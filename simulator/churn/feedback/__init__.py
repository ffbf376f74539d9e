"""What became of predictions: stored, joined with late actuals, measured."""
