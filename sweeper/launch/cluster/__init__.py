"""The machines of a cluster as a launch sees them, and the workers that it has on them."""
