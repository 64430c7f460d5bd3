"""ScanNet's average precision: the official script's numbers, and its corner cases one by one."""

import numpy as np
import pytest

from projects.point_grouping.instance_ap import (
    OVERLAPS,
    average_precision,
    majority,
    overlap_scene,
    summarize,
    true_instances,
)

N = 2000


def mask(*spans):
    points = np.zeros(N, dtype=bool)
    for start, stop in spans:
        points[start:stop] = True
    return points


def ap(truth, predictions, valid=(3,), threshold=0.5):
    """AP of class 3 at a threshold; `truth`: (start, stop, label), `predictions`: (mask, label, score)."""
    semantic, instance = np.zeros(N, dtype=np.int64), np.full(N, -1)
    for number, (start, stop, label) in enumerate(truth):
        semantic[start:stop], instance[start:stop] = label, number
    masks = np.array([entry[0] for entry in predictions], dtype=bool).reshape(-1, N)
    labels, scores = (np.array([entry[place] for entry in predictions]) for place in (1, 2))
    scene = overlap_scene(semantic, instance, masks, labels, scores, valid)
    return average_precision([scene], valid)[0, int(np.argmin(abs(OVERLAPS - threshold)))]


def test_official_numbers(golden):
    stored = np.load(golden / 'points3d' / 'scannet_instance_ap.npz')
    valid, scenes = stored['valid_class_ids'].tolist(), []
    np.testing.assert_array_equal(OVERLAPS, stored['overlaps'])
    for scene in range(int(stored['n_scenes'])):
        ids = stored[f's{scene}_gt_ids']
        masks = np.unpackbits(stored[f's{scene}_pred_masks_packed'], axis=1, count=len(ids)).astype(bool)
        scenes.append(overlap_scene(ids // 1000, np.where(ids > 0, ids, -1), masks, stored[f's{scene}_pred_label_ids'],
                                    stored[f's{scene}_pred_scores'], valid))
    table = average_precision(scenes, valid)
    np.testing.assert_allclose(table, stored['ap'], atol=1e-9)
    found = summarize(table)
    for name, key in (('AP', 'class_ap'), ('AP50', 'class_ap50'), ('AP25', 'class_ap25')):
        np.testing.assert_allclose(found[f'class_{name}'], stored[key], atol=1e-9)
    np.testing.assert_allclose([found['AP'], found['AP50'], found['AP25']], stored['mean_ap_ap50_ap25'], atol=1e-9)


def test_ground_truth_as_prediction_is_perfect():
    assert ap([(0, 300, 3), (300, 500, 3)], [(mask((0, 300)), 3, .5), (mask((300, 500)), 3, .5)]) == 1


def test_nothing_predicted_and_nothing_to_find():
    assert ap([(0, 300, 3)], []) == 0
    assert np.isnan(ap([(0, 300, 4)], [(mask((0, 300)), 3, .5)]))
    table = np.full((2, 10), np.nan)
    assert np.isnan(summarize(table)['AP50'])
    table[1] = .4
    assert summarize(table)['AP'] == pytest.approx(.4)  # the class without ground truth is left out


def test_overlap_must_exceed_the_threshold():
    assert ap([(0, 200, 3)], [(mask((0, 100)), 3, .9)]) == 0
    assert ap([(0, 200, 3)], [(mask((0, 101)), 3, .9)]) == 1


def test_second_match_is_a_false_positive_with_the_lower_score():
    """Two matches, in file order 0.3 and 0.9: the ground truth gets 0.9, so recall 1 comes at precision 1."""
    whole = mask((0, 200))
    assert ap([(0, 200, 3)], [(whole, 3, .3), (whole, 3, .9)]) == 1
    # a false positive of a higher score costs more: precision is 1 / 2 at half of the step, and 0 at the other
    elsewhere = ap([(0, 200, 3), (600, 800, 4)], [(whole, 3, .3), (mask((600, 800)), 3, .9)], valid=(3, 4))
    assert elsewhere == pytest.approx(.25)


@pytest.mark.parametrize('start', [1000, 1900])
def test_predictions_on_void_are_excused(start):
    """Points without an instance, or of a class that is not evaluated, are void."""
    truth = [(0, 300, 3), (1000, 1500, 99)]
    assert ap(truth, [(mask((0, 300)), 3, .2), (mask((start, start + 100)), 3, .9)]) == 1


def test_small_ground_truth_and_small_predictions_do_not_count():
    truth = [(0, 300, 3), (300, 399, 3)]
    right = (mask((0, 300)), 3, .2)
    assert ap(truth, [right]) == 1
    assert ap(truth, [right, (mask((300, 420)), 3, .9)]) == 1  # matches the small one: neither hit nor miss
    assert ap(truth, [right, (mask((300, 380)), 3, .9)]) == 1  # has 80 points itself
    other = [(0, 300, 3), (300, 500, 4)]
    assert ap(other, [right, (mask((300, 500)), 3, .9)], valid=(3, 4)) < 1  # lies on another class
    assert ap(truth, [(mask((1000, 1200)), 3, .9)]) == 0  # all excused: the script stops here


def test_a_prediction_is_used_once():
    """At 0.25 one mask can match two instances; the first in ascending order takes it."""
    both = [(mask((0, 400)), 3, .9)]
    assert ap([(0, 200, 3), (200, 400, 3)], both, threshold=.25) == .5  # recall 1 / 2


def test_numbers_of_instances():
    semantic, instance = np.array([5, 5, 3, 5, 3, 9]), np.array([7, 7, 7, 2, 4, -1])
    numbers, labels = true_instances(semantic, instance)
    assert labels.tolist() == [3, 5, 5] and numbers.tolist() == [2, 2, 2, 1, 0, -1]
    assert majority(np.array([0, 0, 1]), np.array([4, -100, 8]), 2).tolist() == [-100, 8]


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r'expected \(n,\), \(n,\), \(k, n\)'):
        overlap_scene(np.zeros(5), np.zeros(5), np.zeros((2, 4), bool), np.zeros(2), np.zeros(2), (3,))


def test_a_scene_without_points_of_a_class_or_predictions():
    scene = overlap_scene(np.zeros(5, int), np.full(5, -1), np.zeros((0, 5), bool), np.zeros(0, int), np.zeros(0), (3,))
    assert scene['gt_size'].shape == (0,) and scene['pairs'].shape == (0, 3)
    assert np.isnan(average_precision([scene], (3,))).all()
