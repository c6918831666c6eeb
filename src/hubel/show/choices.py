"""What was chosen and why, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubel.show import wording
from hubel.show.evidence import Evidence, as_number


def choices(evidence: Evidence) -> dict[str, Any]:
    """The section of the recipe: each field with its value and its reason; network and objective."""
    recipe, reasons = evidence.part("recipe"), evidence.part("reasons")
    rows = [
        {"name": wording.title(key), "value": wording.value_text(value), "why": _reason(reasons.get(key))}
        for key, value in recipe.items()
        if key != "is"
    ]
    rows += [
        {"name": wording.title(key), "value": "", "why": _reason(why)}
        for key, why in reasons.items()
        if key not in recipe and key not in ("net", "objective")
    ]
    net, objective = evidence.part("net"), evidence.part("objective")
    parameters = as_number(net.get("parameters"))
    sizes = evidence.part("data", "sizes")
    train = as_number(sizes.get("train"))
    return {
        "rows": rows,
        "made": [
            (name, call, _reason(reasons.get(key)))
            for name, key, made in (("Network", "net", net), ("Objective", "objective", objective))
            if (call := _call(made))
        ],
        "counts": [
            (label, value)
            for label, value in (
                ("parameters", None if parameters is None else wording.number(parameters)),
                ("training examples", None if train is None else wording.number(train)),
                ("choices in the recipe", wording.number(len(set(recipe) - {"is"})) if recipe else None),
            )
            if value is not None
        ],
        "precision": pairs(evidence.part("precision")),
        "probe": _table(evidence.about.get("precision")),
    }


def reproduction(evidence: Evidence) -> dict[str, Any]:
    """The section that says how to do it again."""
    about, machine = evidence.about, evidence.part("machine")
    memory = as_number(machine.get("memory_bytes"))
    split, data = evidence.part("split"), evidence.part("data")
    seeds = {
        "recipe": evidence.part("recipe").get("seed"),
        "split": split.get("seed"),
    }
    rows = [
        ("Seeds", ", ".join(f"{name} {value}" for name, value in seeds.items() if value is not None)),
        ("Split", wording.value_text(split.get("how")) if split.get("how") is not None else ""),
        ("Split, SHA-256", split.get("sha256")),
        ("Data fingerprint", data.get("fingerprint")),
        (
            "Versions",
            ", ".join(f"{name} {wording.value_text(v)}" for name, v in evidence.part("versions").items())
            or (f"hubel {about['hubel']}" if about.get("hubel") else ""),
        ),
        ("Processor", _joined(machine.get("processor"), _cores(machine.get("cores")))),
        ("Memory", None if memory is None else wording.size(memory)),
        ("Device", machine.get("device")),
        ("System", machine.get("system")),
        ("Begun", about.get("created")),
    ]
    return {
        "command": str(about.get("command") or ""),
        "folder": evidence.name,
        "rows": [(name, str(value)) for name, value in rows if value not in (None, "")],
    }


def findings(evidence: Evidence) -> list[dict[str, Any]]:
    """What was noticed, flagged ones first."""
    rows = [
        {
            "what": str(row["what"]).rstrip("."),
            "why": str(row.get("why") or ""),
            "remedy": str(row.get("remedy") or ""),
            "source": str(row.get("source") or ""),
            "flagged": row.get("severity") == "flagged",
            "evidence": pairs(row["evidence"]) if isinstance(row.get("evidence"), Mapping) else [],
        }
        for row in evidence.findings[:100]
    ]
    return sorted(rows, key=lambda row: not row["flagged"])


def pairs(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """An object of run.json as names and one-line values."""
    return [(wording.title(key), wording.value_text(item)) for key, item in value.items()]


def _table(rows: Any) -> dict[str, Any] | None:
    """A list of objects as a table; keys without any value are left out."""
    rows = [row for row in rows[:50] if isinstance(row, Mapping)] if isinstance(rows, list) else []
    keys = [
        k
        for k in dict.fromkeys(k for row in rows for k in row)
        if any(row.get(k) not in (None, "") for row in rows)
    ]
    if not keys:
        return None
    cells = [["" if row.get(k) in (None, "") else wording.value_text(row[k]) for k in keys] for row in rows]
    return {"names": [wording.title(k) for k in keys], "rows": cells}


def _reason(value: Any) -> str:
    return "" if value is None else wording.value_text(value)


def _call(made: Mapping[str, Any]) -> str:
    """`{"name": "hubel.nets.mlp", "arguments": {…}}` as `mlp(hidden none, inputs 1, 8, 8)`."""
    name = str(made.get("name") or made.get("is") or "").removeprefix("hubel.")
    if not name:
        return ""
    arguments = made.get("arguments")
    if not isinstance(arguments, Mapping):
        skipped = ("name", "is", "parameters", "expected_initial_loss", "classes", "alphabet", "better")
        arguments = {key: value for key, value in made.items() if key not in skipped}
    told = ", ".join(f"{key}={_argument(value)}" for key, value in arguments.items())
    return f"{name}({told})"


def _argument(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(_argument(item) for item in value[:12]) + (", …)" if len(value) > 12 else ")")
    if isinstance(value, Mapping):
        return wording.value_text(value)
    return repr(value) if isinstance(value, str) else str(value)


def _cores(value: Any) -> str:
    cores = as_number(value)
    return "" if cores is None else wording.plural(int(cores), "core")


def _joined(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)
