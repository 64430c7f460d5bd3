"""S3DIS's precision, recall and coverage: ASIS's numbers, and what it left open."""

import numpy as np
import pytest

from projects.point_grouping.precision_recall import count_room, flatten, precision_recall


def test_official_numbers(golden):
    stored = np.load(golden / 'points3d' / 's3dis_prec_rec.npz')
    keys = ('gt_sem', 'gt_ins', 'pred_sem', 'pred_ins')
    rooms = [count_room(*(stored[f'r{room}_{key}'] for key in keys), 13) for room in range(int(stored['n_rooms']))]
    found = precision_recall(rooms)
    for name, key in (('precision', 'precision'), ('recall', 'recall'), ('cov', 'mucov'), ('wcov', 'mwcov')):
        np.testing.assert_allclose(found[name], stored[key], atol=1e-9)
    np.testing.assert_allclose([found[name] for name in ('mPrec', 'mRec', 'mCov', 'mWCov')],
                               stored['mean_prec_rec_mucov_mwcov'], atol=1e-9)


def test_better_masks_are_painted_over_weaker_ones():
    masks = np.array([[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]], dtype=bool)
    assert flatten(masks, np.array([.5, .9, .1])).tolist() == [0, 1, 1, -1]
    assert flatten(np.zeros((0, 3), bool), np.zeros(0)).tolist() == [-1, -1, -1]


def test_half_is_enough_and_several_may_count_on_one():
    """IoU 0.5 is a hit; the class is the most frequent label of the points."""
    true = np.array([0] * 4 + [-1] * 4)
    pred = np.array([0, 0, 1, 1] + [-1] * 4)
    semantic = np.array([1, 1, 1, 1] + [0] * 4)
    counts = count_room(semantic, true, semantic, pred, 3)
    assert counts['right'].tolist() == [0, 2, 0] and not counts['wrong'].any()
    assert counts['true'].tolist() == [0, 1, 0]
    assert counts['cov'][1] == counts['wcov'][1] == .5
    found = precision_recall([counts])
    assert (found['mPrec'], found['mRec']) == (1, 2)  # so does the script: recall may exceed 1


def test_means_are_over_classes_with_ground_truth():
    semantic, true = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    found = precision_recall([count_room(semantic, true, np.array([0, 0, 2, 2]), true, 3)])
    np.testing.assert_array_equal(found['precision'], [1, 0, np.nan])
    np.testing.assert_array_equal(found['recall'], [1, 0, np.nan])
    assert (found['mPrec'], found['mRec'], found['mCov']) == (.5, .5, .5)


def test_coverage_is_a_mean_over_rooms():
    def room(covered):
        true = np.zeros(10, dtype=int)
        return count_room(true, true, true, np.where(np.arange(10) < covered, 0, -1), 1)
    assert precision_recall([room(10), room(2)])['mCov'] == pytest.approx(.6)


def test_an_empty_room():
    counts = count_room(np.zeros(4, int), np.full(4, -1), np.zeros(4, int), np.full(4, -1), 2)
    assert counts['true'].tolist() == [0, 0] and np.isnan(precision_recall([counts])['mRec'])
