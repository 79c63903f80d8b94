"""Asking a model a task's questions with lm-eval: the model class for lm-eval, and checks on prompts and answers.

The questions and metrics belong to tasks/, the stages that evaluate to `stages`.
"""
