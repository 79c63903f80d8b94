"""Which way of preparing a small text corpus makes a language model remember the most facts from it?"""

__version__ = "0.1.0"
