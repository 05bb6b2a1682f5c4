"""One file a method, with all that is its own."""
