"""Texts about a corpus that a language model writes: writers, samples, and how answers are read.

A writer is a local model or an endpoint. Which prompts a method asks with belongs to `methods`; the file formats belong
to `data.written` and `data.prompts`.
"""
