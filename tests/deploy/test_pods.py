import pytest

from tests.deploy.checks import pods


@pytest.mark.parametrize(("quantity", "count"), [("4Gi", 4 << 30), ("64Mi", 64 << 20), ("10", 10), ("2k", 2000)])
def test_quantities(quantity, count):
    assert pods.bytes_of(quantity) == count


@pytest.mark.parametrize("quantity", ["", "4GiB", "-1", "1.5Gi"])
def test_an_invalid_quantity_is_an_error(quantity):
    with pytest.raises(ValueError, match="no quantity"):
        pods.bytes_of(quantity)


def test_the_last_flag_counts():
    container = {"args": ["--allow-http=true", "--allow-http=false", "--allow-http-everything=1"]}
    assert pods.flag(container, "--allow-http") == "false"
    assert pods.flag(container, "--allow-grpc") is None


def test_an_empty_selector_selects_nothing():
    assert not pods.matches({}, {"a": "b"})
    assert pods.matches({"a": "b"}, {"a": "b", "c": "d"})
    assert not pods.matches({"a": "x"}, {"a": "b"})


def test_commands_of_handlers():
    container = {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "15"]}}}, "livenessProbe": {"grpc": {}}}
    assert pods.command(container, "lifecycle", "preStop") == ["sleep", "15"]
    assert pods.command(container, "livenessProbe") == []
    assert pods.command(container, "readinessProbe") == []
