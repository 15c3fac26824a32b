"""Recipes for the command line from a config.py of the published simulator, read as text."""
