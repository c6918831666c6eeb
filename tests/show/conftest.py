import pytest
from made_runs import diabetes_run, digits_run


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    return digits_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def diabetes(tmp_path_factory):
    return diabetes_run(tmp_path_factory.mktemp("runs") / "diabetes")
