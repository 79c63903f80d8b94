"""Asking a model with lm-eval: the model as lm-eval takes it, and the checks on prompts and answers."""
