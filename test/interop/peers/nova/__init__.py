"""Stands where Nova would be installed: the module that errors of both sides name on the wire."""
