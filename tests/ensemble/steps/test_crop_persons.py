import pytest

from ensemble.steps.crop_persons import check_crop_count


def test_more_crops_than_the_network_takes_are_refused():
    check_crop_count(32, 32, 32)
    with pytest.raises(ValueError, match="bboxes: 33 are more than this network's limit of 32 a request"):
        check_crop_count(33, 32, 32)
    with pytest.raises(ValueError, match="max_persons is 40; this network's keypoints are for 1 to 32 persons"):
        check_crop_count(3, 40, 32)
