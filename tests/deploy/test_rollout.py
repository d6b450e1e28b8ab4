from deploy.rollout import Result, misses


def result(path="edge proxy, drained", calls=1000, failed=0, balance=1.1):
    return Result(path, calls, failed, 0, balance, {})


def test_a_good_run_misses_nothing():
    assert list(misses([result(), result("client, abrupt", failed=4)])) == []


def test_every_goal_can_be_missed():
    assert "1 of 1000" in next(misses([result(failed=1)]))
    assert "5 of 900" in next(misses([result("client, abrupt", calls=900, failed=5)]))
    assert "1.4 times" in next(misses([result(balance=1.4)]))
    assert "prove nothing" in next(misses([result(calls=9)]))
