"""The networks: ordinary modules without biases that know no method."""
