"""The command line: the commands in groups, with their flags, their examples and what they call."""
