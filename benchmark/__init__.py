"""Which way of preparing a small text corpus makes a language model remember the most facts from it?"""

from pathlib import Path

NAME = "CramBench"
__version__ = "0.1.0"
ROOT = Path(__file__).resolve().parent.parent  # of a checkout; site-packages where this is installed from a wheel
