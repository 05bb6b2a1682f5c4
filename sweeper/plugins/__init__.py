"""Plug-ins as folders: read, agreed to, checked, kept in the storage, imported by whoever trains."""
