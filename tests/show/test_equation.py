"""Figures and page of the solution of an equation, from folders that are made by hand."""

import json

import numpy as np
import pytest

from hubel.core.errors import DamagedRun
from hubel.show import equation


def made(folder, *, dims=2, fields=("u",), known=True, complex=False, **changes):
    names = ("t", "x", "y")[:dims]
    axes = {name: np.linspace(0, k + 1, 9 + k) for k, name in enumerate(names)}
    grid = np.meshgrid(*axes.values(), indexing="ij")
    values = sum(np.sin((k + 1) * g) for k, g in enumerate(grid)) * (1 + 1j if complex else 1)
    content = {f"axis_{name}": axis for name, axis in axes.items()}
    for field in fields:
        content[f"field_{field}"] = values + 1e-3
        if known:
            content[f"reference_{field}"] = values
    content["residual_1"] = np.abs(values) * 1e-3
    folder.mkdir(exist_ok=True)
    np.savez(folder / "solution.npz", **content)
    about = {
        "format": 1,
        "kind": "equation",
        "status": "finished",
        "stopped": "the time was over before the tolerance was reached",
        "created": "2026-01-02T03:04:05",
        "equation": {"named": "heat"},
        "problem": {
            "title": "Heat <b>",
            "formula": "u_t = u_xx",
            "source": "J. Fourier 1822",
            "fields": list(fields),
            "time": "t",
            "ranges": {name: [0.0, k + 1.0] for k, name in enumerate(names)},
            "parameters": {"k": 0.4, "nu": None},
        },
        "asked": {"tol": 1e-5, "seed": 3, "budget": 60.0, "threads": 1},
        "test": {f"relative error of {name}": {"value": 2.5e-4} for name in fields} if known else {},
        "estimate": 3e-4,
        "reached": False,
        "limit": "the network: 349 weights",
        "seconds": 12.0,
        "warnings": ["nu had not come to rest"],
        "unknowns": {"nu": {"value": 0.25, "standard_error": 0.01, "low": 0.23, "high": 0.27, "truth": 0.26}},
        "reference": {"how": "one sine", "accuracy": 1e-15, "known_by": "it is exact", "seconds": 1e-4},
        "classical": {"how": "one sine", "seconds": 1e-4, "error": 1e-15},
    }
    (folder / "run.json").write_text(json.dumps(about | changes))
    rows = [
        {
            "iteration": k,
            "loss": 10.0**-k,
            "estimate": None if k < 3 else 10.0**-k,
            "error": 0.5 / k,
            "seconds": k / 2.0,
        }
        for k in range(1, 6)
    ]
    (folder / "curves.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n{torn")
    return folder


def test_the_page_of_windows_of_time_says_why_its_errors_rise(tmp_path):
    asked = {"tol": 1e-5, "seed": 3, "budget": 60.0, "threads": 1}
    without = equation.report(made(tmp_path / "one", asked=asked))
    page = equation.report(made(tmp_path / "windows", asked=asked | {"windows": 8}))
    for part in ("they rise where one begins", "windows of time"):
        assert part in page and part not in without


def test_the_page_says_what_came_out(tmp_path):
    page = equation.report(made(tmp_path / "run"))
    for part in (
        "<h1>Heat &lt;b&gt;</h1>",
        "The numbers of the equation were found from data",
        "0.230 to 0.270",
        "<strong>Warning:</strong> nu had not come to rest",
        "Against the reference the relative error is 2.5e−4",
        "What limits the error: the network: 349 weights.",
        "A method without networks does it in 0.1 ms to an error of 1.0e−15 (one sine); this took 12 s.",
        "k = 0.4",
    ):
        assert part in page
    assert "://" not in page.replace("data:", "")
    assert page.count("data:image/png;base64,") == 3
    page = equation.report(made(tmp_path / "other", known=False, unknowns={}, classical=None, reference=None))
    assert (
        "The tolerance of 1.0e−5 was not reached: the estimated relative error of this solution is 3.0e−4."
        in page
    )
    assert "No reference is known" in page
    assert "The numbers that were unknown" not in page


def test_maps_have_the_axes_and_the_values_of_the_grid(tmp_path):
    figure = equation.maps(made(tmp_path / "run"))
    u, error, residual = (ax for ax in figure.axes if ax.get_title(loc="left"))
    assert [ax.get_title(loc="left") for ax in (u, error, residual)] == ["u", "error of u", "residual"]
    assert (u.get_xlabel(), u.get_ylabel()) == ("t", "x")
    (mesh,) = u.collections
    t, x = np.linspace(0, 1, 9), np.linspace(0, 2, 10)
    drawn = np.asarray(mesh.get_array()).reshape(10, 9)
    np.testing.assert_allclose(drawn, (np.sin(t)[:, None] + np.sin(2 * x) + 1e-3).T)
    np.testing.assert_allclose(np.asarray(error.collections[0].get_array()), 1e-3)
    assert "log" in type(error.collections[0].norm).__name__.lower()


def test_of_three_coordinates_the_last_time_is_drawn(tmp_path):
    figure = equation.maps(made(tmp_path / "run", dims=3, fields=("u", "v")))
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titles == [
        "u at t = 1",
        "error of u at t = 1",
        "v at t = 1",
        "error of v at t = 1",
        "residual at t = 1",
    ]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("x", "y")
    assert np.asarray(figure.axes[0].collections[0].get_array()).size == 10 * 11


def test_profiles_stand_beside_the_reference(tmp_path):
    figure = equation.profiles(made(tmp_path / "run", complex=True))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["t = 0.25", "t = 0.5", "t = 0.75", "t = 1"]
    network, reference = figure.axes[3].lines
    x = np.linspace(0, 2, 10)
    np.testing.assert_allclose(reference.get_ydata(), np.sqrt(2) * np.abs(np.sin(1) + np.sin(2 * x)))
    np.testing.assert_allclose(network.get_ydata(), np.abs((1 + 1j) * (np.sin(1) + np.sin(2 * x)) + 1e-3))
    assert figure.axes[0].get_ylabel() == "|u|"


def test_one_coordinate_is_a_line(tmp_path):
    folder = made(tmp_path / "run", dims=1)
    figure = equation.maps(folder)
    assert [ax.get_xlabel() for ax in figure.axes] == ["t", "t", "t"]
    assert len(figure.axes[0].lines) == 2
    with pytest.raises(ValueError, match="one coordinate"):
        equation.profiles(folder)
    assert equation.report(folder).count("<img") == 2


def test_the_course_has_estimate_and_error(tmp_path):
    (ax,) = equation.course(made(tmp_path / "run")).axes
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["error, estimated"].get_ydata(), [1e-3, 1e-4, 1e-5])
    assert list(lines["error, measured"].get_xdata()) == [
        0.5,
        1,
        1.5,
        2,
        2.5,
        12,
    ]  # the last one is that of the whole grid
    assert "without a network: 0.1 ms, 1.0e−15 (left of this figure)" in lines


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "solution.npz").unlink(), "holds no solution yet"),
        (lambda folder: (folder / "solution.npz").write_bytes(b"PK"), "can not be read"),
        (lambda folder: np.savez(folder / "solution.npz", axis_t=np.arange(3)), "can not be read"),
        (
            lambda folder: np.savez(
                folder / "solution.npz", axis_t=np.arange(3), axis_x=np.arange(2), field_u=np.zeros(4)
            ),
            "not of the size of its axes",
        ),
    ],
)
def test_a_folder_that_is_damaged(change, said, tmp_path):
    change(made(tmp_path / "run"))
    with pytest.raises(DamagedRun, match=said):
        equation.maps(tmp_path / "run")


def with_functions(folder, *, of=("x",), truth=True, **changes):
    made(folder, **changes)
    with np.load(folder / "solution.npz") as opened:
        content = dict(opened)
    grid = np.meshgrid(*[content[f"axis_{x}"] for x in of], indexing="ij")
    values = 1 + sum(grid)
    content |= {"function_k": values, "low_k": values - 0.1, "high_k": values + 0.3}
    if truth:
        content["truth_k"] = values + 0.01
    np.savez(folder / "solution.npz", **content)
    about = json.loads((folder / "run.json").read_text())
    about["problem"] |= {
        "functions": {"k": list(of)},
        "units": {"x": "m", "k": "W/(m K)", "nu": "Pa s", "u": "K"},
    }
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def test_a_function_of_one_coordinate_with_its_band(tmp_path):
    (ax,) = equation.functions(with_functions(tmp_path / "run")).axes
    x = np.linspace(0, 2, 10)
    found, true = ax.lines
    np.testing.assert_allclose(found.get_xydata(), np.stack([x, 1 + x], axis=1))
    np.testing.assert_allclose(true.get_ydata(), 1.01 + x)
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(0.9) and corners[:, 1].max() == pytest.approx(3.3)
    assert (ax.get_xlabel(), ax.get_title(loc="left")) == ("x (m)", "k (W/(m K))")


def test_a_function_of_two_coordinates_is_two_maps(tmp_path):
    figure = equation.functions(with_functions(tmp_path / "run", dims=3, of=("x", "y")))
    value, band = (ax for ax in figure.axes if ax.get_title(loc="left"))
    assert band.get_title(loc="left") == "half the band of k (W/(m K))"
    np.testing.assert_allclose(np.asarray(band.collections[0].get_array()), 0.2)
    x, y = np.linspace(0, 2, 10), np.linspace(0, 3, 11)
    drawn = np.asarray(value.collections[0].get_array()).reshape(11, 10)
    np.testing.assert_allclose(drawn, 1 + x + y[:, None])
    assert (value.get_xlabel(), value.get_ylabel()) == ("x (m)", "y")


def test_the_page_shows_functions_and_units(tmp_path):
    page = equation.report(with_functions(tmp_path / "run"))
    for part in (
        "What was unknown of the equation was found from data: k(x). The table has the numbers",
        "The functions that were unknown",
        "Dashed: the truth.",
        '<th scope="row">nu (Pa s)</th>',
        "x from 0 to 2 m",
    ):
        assert part in page
    assert page.count("data:image/png;base64,") == 4
    (ax,) = equation.functions(with_functions(tmp_path / "other", truth=False)).axes
    assert len(ax.lines) == 1
    with pytest.raises(ValueError, match="has no unknown function"):
        equation.functions(made(tmp_path / "without"))


def test_axes_have_their_units(tmp_path):
    folder = with_functions(tmp_path / "run")
    assert equation.maps(folder).axes[0].get_title(loc="left") == "u (K)"
    assert (equation.maps(folder).axes[0].get_xlabel(), equation.maps(folder).axes[0].get_ylabel()) == (
        "t",
        "x (m)",
    )
    profile = equation.profiles(folder).axes[0]
    assert (profile.get_xlabel(), profile.get_ylabel()) == ("x (m)", "u (K)")
    line = equation.maps(with_functions(tmp_path / "line", dims=1, of=("t",))).axes[0]
    assert len(line.lines) == 2


def test_a_function_that_is_damaged(tmp_path):
    folder = with_functions(tmp_path / "run")
    with np.load(folder / "solution.npz") as opened:
        content = dict(opened)
    np.savez(folder / "solution.npz", **(content | {"low_k": np.zeros(3)}))
    with pytest.raises(DamagedRun, match="the arrays of the function k are not of the size of its axes"):
        equation.functions(folder)
