"""From a config.py of the published simulator, read as text, to a recipe."""

from asim_lightning.exchange.published.recipe import Recipe, recipe_of

__all__ = ["Recipe", "recipe_of"]
