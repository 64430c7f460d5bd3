"""Thousands of broken archives: what breaks a rule is refused, what is legal passes, no check falls over."""
import collections
import signal

import pytest

from projects.leaderboards import TRACKS, SubmissionError, validate

COUNT, SECONDS = 520, 300


@pytest.fixture
def alarm():
    """A check that hangs is stopped, far beyond what all of them take."""
    def ring(number, frame):
        raise TimeoutError
    former = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize('track', TRACKS)
def test_every_mutation_gets_its_verdict(tmp_path, track, cases, engine, alarm):
    (tmp_path / 'data').mkdir()
    case = cases.make_case(track, tmp_path / 'data')
    path = tmp_path / case.name
    wrong, verdicts = [], collections.Counter()
    for number, mutation in enumerate(engine.mutations(case, seed=0, count=COUNT)):
        path.write_bytes(mutation.data)
        try:
            report = validate(track, path, **case.options)
            str(report)
            verdict = 'accept'
        except SubmissionError as error:
            str(error).encode()
            verdict = 'refuse'
        except TimeoutError:
            raise
        except Exception as error:  # the very thing that must not happen
            verdict = f'{type(error).__name__}: {error}'[:200]
        verdicts[mutation.verdict, verdict] += 1
        if verdict not in ((mutation.verdict,) if mutation.verdict != 'any' else ('accept', 'refuse')):
            wrong.append((number, mutation.label, verdict))
    assert not wrong, f'{len(wrong)}: {wrong[:12]}'
    assert verdicts['refuse', 'refuse'] > COUNT // 2 and verdicts['accept', 'accept'] > 10
