"""Which split an archive is of."""


def other_split(split: str) -> list[str]:
    """A warning if an archive is of another split than the one that the server evaluates."""
    return [] if split == 'test' else [f'the server evaluates the split test, this archive is of {split}, whose '
                                       'numbers tools/test.py gives']
