"""Binary weights: a sign a connection and a scale a channel, trained through the rounding."""
