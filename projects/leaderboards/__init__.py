"""Submission files of the benchmark servers: writers, and validators that check a file offline.

Formats and the sources behind each check are listed in this folder's README.
"""
from .report import Report, SubmissionError
from .results_file import load_results
from .tracks import TRACKS, Track, validate, write

__all__ = ['TRACKS', 'Report', 'SubmissionError', 'Track', 'load_results', 'validate', 'write']
