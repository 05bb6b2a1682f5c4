"""One launch of a sweep, and who trains its stages: Ray's workers, or this process."""
