"""Errors of segmentation data; the tools print them as one message without a traceback."""

from projects.runtime.errors import DataError


class SegDataError(DataError):
    """Images or labels are missing, do not pair up, or hold values that mean nothing."""
