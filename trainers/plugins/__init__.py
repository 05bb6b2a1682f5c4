"""Plug-ins: methods, networks and data sets from a folder of the user's own."""
