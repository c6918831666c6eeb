"""What the data are: counts, sizes, notes, duplicates, symmetries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubel.show import wording
from hubel.show.evidence import Evidence, as_number
from hubel.show.verdict import class_counts

PARTS = ("train", "validation", "test")
MOST_ROWS = 24  # classes in the open table; the rest is folded

COUNTED = {"masks": "pixels", "boxes": "objects"}
"""What is counted of each class, where it is not examples."""


def datacard(evidence: Evidence, *, most: int = 1500) -> dict[str, Any] | None:
    """The data section, with `most` classes at most; None where nothing is recorded."""
    data = evidence.part("data")
    if not data:
        return None
    facts = [
        ("Source", data.get("source")),
        ("Examples", _whole(data.get("examples"))),
        ("Shape of one", _shape(data)),
        ("Stored as", data.get("dtype")),
        ("Classes", wording.number(len(evidence.classes)) if evidence.classes else None),
        ("Target", _target(data)),
        ("Symmetries declared", wording.value_text(data.get("symmetries") or "none")),
        ("Duplicates", _duplicates(data.get("duplicates"))),
        (
            "Columns" if _is_table(data) else "Channels",
            wording.value_text(data["channels"]) if data.get("channels") else None,
        ),
    ]
    notes = data.get("notes")
    return {
        "facts": [(name, str(value)) for name, value in facts if value not in (None, "")],
        "sizes": _sizes(data),
        "notes": [str(note) for note in notes[:50]]
        if isinstance(notes, list)
        else [str(notes)]
        if notes
        else [],
        "of_classes": f"{COUNTED.get(evidence.kind, 'examples').capitalize()} of each class",
        **_class_rows(evidence, most),
    }


def _is_table(data: Mapping[str, Any]) -> bool:
    reading = data.get("reading")
    return isinstance(reading, Mapping) and reading.get("kind") == "table"


def _whole(value: Any) -> str | None:
    found = as_number(value)
    return None if found is None else wording.number(found)


def _shape(data: Mapping[str, Any]) -> str | None:
    value, reading = data.get("shape"), data.get("reading")
    if not isinstance(value, list) or not value:
        return None
    kind = reading.get("kind") if isinstance(reading, Mapping) else None
    text = f"{'up to ' if data.get('ragged') is True else ''}{wording.shape(value)}"
    if kind == "text":
        return f"{text} symbols"
    axes = {
        2: "steps × features",
        3: "channels × rows × columns",
        4: "channels × depth × rows × columns"
        if kind != "image series"
        else "pictures × channels × rows × columns",
    }.get(len(value))
    return f"{text} ({axes})" if axes else text


def _target(data: Mapping[str, Any]) -> str | None:
    names, units = data.get("target_names"), data.get("units")
    if not isinstance(names, list) or not names:
        return None
    reading = data.get("reading")
    horizon = as_number(reading.get("horizon")) if isinstance(reading, Mapping) else None
    if horizon is not None and 1 < horizon < len(names) + 1:  # a forecast names every step of every column
        count = int(len(names) // horizon)
        names, units = (
            [str(name).rpartition(" +")[0] for name in names[:count]],
            units[:count] if isinstance(units, list) else None,
        )
        return f"the next {horizon:.0f} values of {_with_units(names, units)}"
    return _with_units(names, units)


def _with_units(names: list[Any], units: Any) -> str:
    units = units if isinstance(units, list) and len(units) == len(names) else [None] * len(names)
    return ", ".join(
        f"{name} ({unit})" if unit else str(name) for name, unit in zip(names, units, strict=True)
    )


def _duplicates(value: Any) -> str:
    if value is None:
        return "not recorded"
    if isinstance(value, Mapping):
        if value.get("sentence"):
            return str(value["sentence"])
        value = {key: item for key, item in value.items() if key != "examples"}
    return "none found" if _nothing(value) else wording.value_text(value)


def _nothing(value: Any, depth: int = 0) -> bool:
    """Whether every number inside is zero."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return depth < 8 and all(_nothing(item, depth + 1) for item in value)
    return value in (0, "", None)


def _sizes(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    sizes = data.get("sizes")
    sizes = {k: as_number(v) for k, v in sizes.items()} if isinstance(sizes, Mapping) else {}
    known = {part: size for part in (*PARTS, *sizes) if (size := sizes.get(part)) is not None}
    total = sum(known.values())
    return [
        {"part": part, "count": wording.number(size), "share": f"{100 * size / total:.0f}" if total else "0"}
        for part, size in known.items()
    ]


def _class_rows(evidence: Evidence, most_rows: int) -> dict[str, Any]:
    counts = {part: class_counts(evidence, part) for part in PARTS}
    parts = [part for part in PARTS if counts[part]]
    names = list(dict.fromkeys([*evidence.classes, *(name for part in parts for name in counts[part])]))
    if not parts or not names:
        return {"parts": [], "rows": [], "folded": [], "balance": ""}
    most = max(max(counts[part].values()) for part in parts) or 1
    rows = [
        {
            "name": name,
            "counts": [wording.number(counts[part].get(name, 0)) for part in parts],
            "bar": f"{100 * counts[parts[0]].get(name, 0) / most:.1f}",
        }
        for name in names
    ]
    first = counts[parts[0]]
    return {
        "parts": parts,
        "rows": rows if len(rows) <= MOST_ROWS else rows[: MOST_ROWS // 2],
        "folded": [] if len(rows) <= MOST_ROWS else rows[MOST_ROWS // 2 : most_rows],
        "balance": _balance(
            {name: first.get(name, 0) for name in names},
            parts[0],
            COUNTED.get(evidence.kind, "examples"),
        ),
    }


def _balance(counts: dict[str, int], part: str, what: str = "examples") -> str:
    rare, frequent = min(counts, key=lambda n: counts[n]), max(counts, key=lambda n: counts[n])
    if counts[rare] == counts[frequent]:
        return f"All classes have {wording.number(counts[rare])} {what} in the {part} part."
    if counts[rare] == 0:
        return f"“{rare}” has no {what.removesuffix('s')} in the {part} part."
    part = "training" if part == "train" else part
    return (
        f"The most frequent class, “{frequent}”, has {counts[frequent] / counts[rare]:.3g} times as many "
        f"{part} {what} as the rarest, “{rare}”."
    )
