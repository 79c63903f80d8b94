"""Giving freed memory back to the system."""

import ctypes
import gc


def give_back_memory() -> None:
    """Return freed memory to the system before other processes need it; does nothing without glibc.

    glibc keeps much of what was freed: gigabytes after a model of 1.5B has written texts.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
