"""What MLflow holds of sweeps, read."""
