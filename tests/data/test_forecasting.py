import numpy as np
import pytest

from hubel.core.errors import UnreadableData
from hubel.data import forecasting, load, load_forecasting, read_like
from hubel.data.folds import folds
from hubel.data.forecasting import find_season, naive_forecasts
from hubel.data.splits import assign_parts


def made(steps=300, seed=0):
    generator = np.random.default_rng(seed)
    t = np.arange(steps)
    return np.stack([10 + np.sin(t * 2 * np.pi / 12), 0.1 * t + generator.normal(size=steps)], axis=1)


def test_windows_and_what_follows_them():
    series = made()
    data = forecasting(series, 3, length=20, target=[1, 0])
    assert data.inputs.shape == (300 - 20 - 3 + 1, 20, 2)
    for row in (0, 7, 277):
        assert (data.inputs[row] == series[row : row + 20]).all()
        assert (data.targets[row].reshape(3, 2) == series[row + 20 : row + 23][:, [1, 0]]).all()
    assert not data.inputs.flags.owndata
    assert np.shares_memory(data.inputs[0], data.inputs[1])


def test_parts_are_in_order_and_share_no_step():
    data = forecasting(made(), 3, length=20)
    rows = assign_parts(data, seed=0)
    ends = [0]
    for part in (rows.train, rows.validation, rows.test):
        used = data.spans[part]
        assert used[:, 0].min() == ends[-1]
        ends.append(used[:, 1].max())
        assert (np.diff(part) == 1).all()
    assert ends[-1] == 300
    assert ends[-1] - ends[-2] == 60
    again = assign_parts(data, seed=5)
    assert (again.test == rows.test).all()
    other = assign_parts(data, seed=0, validation=0, test=0.5)
    assert len(other.validation) == 0
    assert data.spans[other.test][0, 0] == 150
    with pytest.raises(ValueError, match="the validation part has 36 steps of 300, but one window takes 40"):
        assign_parts(forecasting(made(), 10, length=30), seed=0)
    with pytest.raises(ValueError, match="one long series: its windows share steps"):
        folds(data, 5)


def test_naive_forecasts_against_a_loop():
    series = made()
    data = forecasting(series, 5, length=20, season=3).view(np.arange(100, 140))
    naive = naive_forecasts(data, data)
    assert [one.season for one in naive] == [1, 3]
    for one in naive:
        for row, last in enumerate(range(119, 159)):
            for ahead in range(1, 6):
                back = -(-ahead // one.season) * one.season
                assert (
                    one.values[row].reshape(5, 2)[ahead - 1].tolist() == series[last + ahead - back].tolist()
                )


def test_the_season_is_found_in_the_training_part():
    data = forecasting(made()[:, 0], 12, length=30)
    assert find_season(data) == 12
    walk = np.cumsum(np.random.default_rng(0).normal(size=2000))
    data = forecasting(walk, 1, length=30)
    assert find_season(data) == 1
    assert len(naive_forecasts(data, data)) == 1


def test_a_file_with_names_units_and_dates(tmp_path):
    lines = [f"2026-01-{1 + k // 24:02d}T{k % 24:02d}:00:00,{20 + k % 24},{k}" for k in range(240)]
    (tmp_path / "weather.csv").write_text("\n".join(["date,temperature (K),rain", *lines]))
    data = load(tmp_path / "weather.csv", forecast=6, target="temperature", length=24)
    assert (data.shape, data.target_names[:2], data.units[0]) == (
        (24, 2),
        ("temperature +1", "temperature +2"),
        "K",
    )
    assert data.reading["time"]["step"] == 3600
    (tmp_path / "recent.csv").write_text(
        "\n".join(["rain,temperature (K)", *(f"{k},{k + 0.5}" for k in range(30))])
    )
    recent = read_like(tmp_path / "recent.csv", data.reading)
    assert recent.shape == (1, 24, 2)
    assert recent[0, -1].tolist() == [29.5, 29]
    (tmp_path / "short.csv").write_text(
        "\n".join(["rain,temperature (K)", *(f"{k},{k + 0.5}" for k in range(20))])
    )
    with pytest.raises(ValueError, match="has 20 steps; this network looks at the last 24 to say the next 6"):
        read_like(tmp_path / "short.csv", data.reading)


def test_gaps_in_time_become_a_feature_that_is_not_forecast(tmp_path):
    lines = [f"{k + 3 * (k > 50)},{np.sin(k)}" for k in range(120)]
    (tmp_path / "x.csv").write_text("\n".join(["t,flux", *lines]))
    data = load_forecasting(tmp_path / "x.csv", 2, length=10)
    assert (data.shape, data.targets.shape[1]) == ((10, 2), 2)
    assert data.channels[-1] == "time since the step before"


@pytest.mark.parametrize(
    ("series", "options", "said"),
    [
        (made(40), {"horizon": 20}, r"has 40 steps, but one window takes 60 \(length 40 and horizon 20\)"),
        (made(), {"horizon": 0}, "horizon is 0; expected a whole number of steps"),
        (made(), {"horizon": 2, "length": 2.5}, "length is 2.5"),
        (
            made(),
            {"horizon": 2, "length": 20, "season": 21},
            "season is 21 steps, but a forecast looks at 20",
        ),
        (made(), {"horizon": 2, "target": 2}, "target is column 2, but the series has 2 columns"),
        (made(), {"horizon": 2, "target": "flux"}, "no column 'flux' to forecast. Its columns have no names"),
        (
            made(),
            {"horizon": 2, "target": "flx", "columns": ["flux", "rain"]},
            r"no column 'flx' to forecast. Did you mean \"flux\"",
        ),
        (made(), {"horizon": 2, "target": [0, 0]}, "several different ones"),
        (np.zeros((5, 4, 3)), {"horizon": 2}, r"expected one long series \[T, F\]"),
        (
            np.array([1.0, np.nan] * 50),
            {"horizon": 2},
            "50 of 100 steps hold NaN or infinite values, first step 1",
        ),
        (np.array(["a"] * 50), {"horizon": 2}, "the series has type"),
    ],
)
def test_refusals(series, options, said):
    with pytest.raises(ValueError, match=said):
        forecasting(series, **options)


def test_constant_columns_are_noted_and_nan_may_be_zero():
    series = made()
    series[:, 0] = 7
    series[3, 1] = np.nan
    with pytest.raises(UnreadableData, match="first step 3"):
        forecasting(series, 2)
    with pytest.raises(
        UnreadableData, match=r"1 of .* steps lack a value that is to be forecast, first step 3"
    ):
        forecasting(series, 2, nan="zero")
    data = forecasting(series, 2, target=[0], nan="zero")
    assert any("the same in every step: column 1" in note for note in data.notes)
    assert data.inputs[0, 3, 1] == 0


def test_a_forecast_from_a_folder_or_with_symmetries_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one long series in one file"):
        load(tmp_path, forecast=3)
    (tmp_path / "x.csv").write_text("flux\n" + "1\n2\n" * 50)
    with pytest.raises(ValueError, match=r"symmetries .* are for labels"):
        load(tmp_path / "x.csv", forecast=3, symmetries=["crop"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ignore": ["tide"]}, r"ignore=\['tide'\] was given, but forecast=3 .*take the others out of it"),
        ({"columns": ["tide"]}, "columns=.* was given, but forecast=3"),
        ({"kind": "series"}, "kind='series' was given, but forecast=3"),
        ({"channels": "first"}, "channels='first' was given"),
        ({"size": 8}, "size=8 was given"),
        ({"task": "values"}, "task='values' was given"),
        ({"skip_unreadable": True}, "skip_unreadable=True was given"),
        ({"test": 0.1}, "test= is for texts"),
    ],
)
def test_words_that_say_nothing_about_one_long_series_are_refused(tmp_path, options, said):
    (tmp_path / "x.csv").write_text("level,tide\n" + "1,2\n2,1\n" * 50)
    with pytest.raises(ValueError, match=said):
        load(tmp_path / "x.csv", forecast=3, **options)


def test_words_of_series_are_refused_for_everything_else(tmp_path):
    (tmp_path / "x.csv").write_text("level,label\n" + "1,a\n2,b\n" * 50)
    with pytest.raises(ValueError, match="season=3 belongs to a forecast"):
        load(tmp_path / "x.csv", season=3)
    with pytest.raises(ValueError, match="time='level' names the times of series"):
        load(tmp_path / "x.csv", time="level")
    with pytest.raises(
        ValueError, match=r"kind='series' is for files and arrays, but .* is a table of features"
    ):
        load(tmp_path / "x.csv", kind="series")
    with pytest.raises(ValueError, match="digits is built in and holds none"):
        load("digits", forecast=3)


def test_columns_without_names_are_named_by_their_places(tmp_path):
    np.savetxt(tmp_path / "x.csv", made(), delimiter=",")
    data = load(tmp_path / "x.csv", forecast=2, target="column 2")
    assert data.target_names == ("column 2 +1", "column 2 +2")
    assert data.targets[0, 0] == pytest.approx(made()[30, 1])
    with pytest.raises(ValueError, match=r"no column 'column 3' .* \"column 1\" to \"column 2\""):
        load(tmp_path / "x.csv", forecast=2, target="column 3")


def test_groups_do_not_part_a_series():
    with pytest.raises(ValueError, match="stretches in order of time: leave the groups out"):
        assign_parts(forecasting(made(), 3), seed=0, groups=np.zeros(300 - 30 - 3 + 1))


def test_a_constant_target_beside_others_does_not_hide_the_season():
    series = made()
    series[:, 1] = 7
    assert find_season(forecasting(series, 12, length=30)) == 12


@pytest.mark.parametrize(("steps", "horizon", "least"), [(300, 4, 6), (1000, 6, 8), (1000, 60, 2)])
def test_blocks_are_as_long_as_the_horizon_and_leave_some_in_the_test_part(steps, horizon, least):
    data = forecasting(made(steps), horizon, length=12)
    _, sizes = np.unique(data.groups, return_counts=True)
    assert set(sizes[:-1].tolist()) == {sizes[0]}
    assert sizes[0] >= horizon
    assert len(set(data.groups[assign_parts(data, seed=0).test])) >= least
    assert (np.diff(data.groups) >= 0).all()
