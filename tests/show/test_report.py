import pytest
from made_runs import digits_run

from hubel.show import report


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    return digits_run(tmp_path_factory.mktemp("runs") / "digits")


def test_the_page_says_the_score_with_its_interval(digits):
    page = report(digits)
    assert "accuracy" in page
