"""Commands on whole sweeps: their versions, their names, their end."""
