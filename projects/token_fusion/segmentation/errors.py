"""Errors of RGB-D data; the tools print them as one message without a traceback."""

from projects.runtime.errors import DataError


class RGBDDataError(DataError):
    """Images, depth maps or masks are missing, do not fit each other, or hold values that mean nothing."""
