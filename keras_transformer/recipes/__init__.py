"""Recipes: the settings of a whole training, each in a YAML file, and the recipe that suits a number of pairs."""

from keras_transformer.recipes.recipe import Recipe, read_recipe, recipe_names, recommended

__all__ = ["Recipe", "read_recipe", "recipe_names", "recommended"]
