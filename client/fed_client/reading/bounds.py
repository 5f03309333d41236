"""How much one file may say: its reader keeps to it, and the reader's parent believes nothing beyond it."""

# DICOM's longest identifiers have 64 characters (PS3.5 6.2, LO and UI); some files have more.
MAX_TEXT = 256
MAX_CODES = 64
MAX_PIXELS = 1 << 26
MAX_BITS = 32
MAX_FRAMES = 4096
# A report of 20 findings that are about all slices of a long CT.
MAX_FINDINGS = 1 << 16
# What the pictures and findings of one file may fill the parent's memory with.
MAX_ANSWER_BYTES = 1 << 29
