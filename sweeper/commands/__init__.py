"""What the commands do; the command line itself is in `sweeper.command_line`."""
