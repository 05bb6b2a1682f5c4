"""Train one network once, and say what it cost."""
