"""What MLflow is told of a sweep."""
