"""Recipes for the command line from a config.py of the published simulator, which is read as text."""

from asim_lightning.exchange.published.recipe import Recipe, recipe_of

__all__ = ["Recipe", "recipe_of"]
