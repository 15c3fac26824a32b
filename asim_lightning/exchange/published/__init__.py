"""Recipes for the command line from a config.py of the published simulator, which is read as text."""
