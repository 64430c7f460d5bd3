"""Errors of detection data; the tools print them as one message without a traceback."""

from projects.runtime.errors import DataError


class ImageError(DataError):
    """An image file is missing, empty, truncated or in no known format."""


class AnnotationError(DataError):
    """An annotation file cannot be read, or nothing in it can be used."""
