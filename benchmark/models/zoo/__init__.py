"""The tiny pair of models that ships with the project, and the recipe that trained it."""
