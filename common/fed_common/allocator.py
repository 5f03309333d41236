"""Keeps freed memory in the process: without it, each large array is fetched anew from the system."""

import ctypes
import logging

logger = logging.getLogger(__name__)

# Options of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Tell the allocator to reuse large blocks, which spares their page faults; only glibc can be told."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        logger.debug("no glibc: its allocator can't be tuned")
        return
    libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    libc.mallopt(_M_TOP_PAD, 64 << 20)
