"""Run folders with real numbers in them: logistic regressions by gradient descent on scikit-learn's data."""

from __future__ import annotations

import json

import numpy as np
from sklearn.datasets import load_diabetes, load_digits

from hubel.metrics import accuracy, balanced_accuracy, top_k_accuracy


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def fit_logistic(x, y, x_validation, y_validation, num_classes, epochs, rate=0.5):
    """Minibatch gradient descent; yields (loss, validation loss, validation accuracy, rate), then weights."""
    generator = np.random.default_rng(0)
    weights = np.zeros((x.shape[1] + 1, num_classes))
    x, x_validation = (np.concatenate([a, np.ones((len(a), 1))], axis=1) for a in (x, x_validation))
    lines = []
    for epoch in range(epochs):
        step = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        losses = []
        for rows in np.array_split(generator.permutation(len(x)), max(1, len(x) // 64)):
            p = softmax(x[rows] @ weights)
            losses.append(-np.log(p[np.arange(len(rows)), y[rows]] + 1e-12).mean())
            p[np.arange(len(rows)), y[rows]] -= 1
            weights -= step * x[rows].T @ p / len(rows)
        p = softmax(x_validation @ weights)
        validation_loss = -np.log(p[np.arange(len(p)), y_validation] + 1e-12).mean()
        lines.append((np.mean(losses), validation_loss, np.mean(p.argmax(1) == y_validation), step))
    return weights, lines


def digits_run(folder, classes=None, epochs=30):
    """A run on scikit-learn's digits, complete."""
    data = load_digits()
    pixels = data.images.astype(np.uint8)[:, None]
    x, y = data.data / 16.0, data.target
    order = np.random.default_rng(1).permutation(len(x))
    train, validation, test = np.split(order, [1257, 1437])
    weights, lines = fit_logistic(x[train], y[train], x[validation], y[validation], 10, epochs)
    probabilities = softmax(np.concatenate([x[test], np.ones((len(test), 1))], axis=1) @ weights)
    values, targets = probabilities.argmax(1), y[test]
    classes = classes or [str(c) for c in range(10)]
    wrong = np.flatnonzero(values != targets)
    worst = wrong[np.argsort(probabilities[wrong, targets[wrong]])][:24]
    entering = train[:16]
    mean, spread = x[train].mean(), x[train].std()

    def counts(rows):
        return {classes[k]: int(np.sum(y[rows] == k)) for k in range(10)}

    about = about_run(
        name="digits",
        data={
            "name": "digits",
            "source": "scikit-learn's digits: 8 × 8 counts of ink, UCI repository",
            "examples": len(x),
            "shape": [1, 8, 8],
            "dtype": "uint8",
            "classes": classes,
            "target_names": ["digit"],
            "units": None,
            "counts": {"train": counts(train), "validation": counts(validation), "test": counts(test)},
            "sizes": {"train": len(train), "validation": len(validation), "test": len(test)},
            "fingerprint": "3f9ac1d27be0",
            "notes": ["Values lie between 0 and 16; scaled by the mean and spread of the training part."],
            "symmetries": [],
            "duplicates": {"sentence": "", "within_train": 0, "across": {"train in test": 0}, "examples": []},
        },
        test={
            "accuracy": accuracy(targets, values).as_json(),
            "balanced accuracy": balanced_accuracy(targets, values).as_json(),
            "top-2 accuracy": top_k_accuracy(targets, probabilities, 2).as_json(),
        },
        initial_loss=float(np.log(10)),
        network={
            "name": "hubel.nets.mlp",
            "arguments": {"hidden": [], "inputs": [1, 8, 8], "outputs": 10},
            "parameters": 650,
        },
    )
    write_run(
        folder,
        about,
        lines,
        findings=[
            {
                "what": "Validation loss still falls by 0.9 % an epoch",
                "evidence": {"slope": -0.009, "epochs": 5},
                "why": "The fit is not finished: more epochs would lower it further.",
                "remedy": "Recipe(epochs=60)",
                "severity": "note",
                "source": "diagnosis",
            }
        ],
        ids=np.array([f"digits/{row:04d}" for row in test]),
        targets=targets,
        values=values,
        probabilities=probabilities.astype(np.float32),
        worst_rows=worst,
        worst_pictures=pixels[test][worst],
        entering_pictures=((pixels[entering] / 16.0 - mean) / spread).astype(np.float32),
        entering_targets=y[entering],
    )
    return folder


def about_run(*, name, data, test, initial_loss, network):
    """run.json of a finished run."""
    return {
        "format": 1,
        "name": name,
        "created": "2025-03-04T10:12:30+00:00",
        "command": f"hubel fit {name} --seed 1",
        "hubel": "0.1.0",
        "versions": {"python": "3.11.9", "torch": "2.13.0", "numpy": "2.3.1", "hubel": "0.1.0"},
        "machine": {
            "processor": "Intel Xeon (Sapphire Rapids)",
            "cores": 2,
            "memory_bytes": 8_231_000_000,
            "device": "cpu",
            "system": "Linux 6.1",
        },
        "data": data,
        "split": {"how": "stratified 70/10/20", "seed": 1, "sha256": "9b3d6d0c" * 8},
        "net": network,
        "objective": {
            "name": "hubel.objectives.CrossEntropy",
            "outputs": 10,
            "expected_initial_loss": initial_loss,
        },
        "preprocessing": {"mean": [4.88], "spread": [6.01], "from": "training part"},
        "recipe": {
            "optimizer": {"is": "hubel.fitting.SGD", "momentum": 0.9, "weight_decay": 0.0005},
            "schedule": {"is": "hubel.fitting.Cosine", "warmup": 0.05},
            "learning_rate": 0.5,
            "epochs": 30,
            "batch_size": 64,
            "augmentation": [],
            "label_smoothing": 0.0,
            "precision": "float32",
            "seed": 1,
        },
        "reasons": {
            "learning_rate": "found by a range test: the loss falls fastest between 0.3 and 0.8",
            "batch_size": "20 steps an epoch; larger batches were not faster on this machine",
            "epochs": "enough for the budget of two minutes",
            "net": "a linear model is the simplest",
            "augmentation": "no symmetry was declared, so none is assumed",
            "precision": "measured: bfloat16 was 1.6 times slower on this processor",
        },
        "precision": [
            {"precision": "float32, channels last", "milliseconds": 1.9, "output_error": None, "refused": ""},
            {"precision": "bfloat16", "milliseconds": 3.1, "output_error": 0.004, "refused": ""},
        ],
        "status": "finished",
        "stopped": "all 30 epochs were done",
        "seconds": 4.2,
        "resumed": 0,
        "test": test,
        "test_looks": 1,
    }


def write_run(folder, about, lines, findings=(), **arrays):
    """Write the four files as the engine does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(about), "utf-8")
    with open(folder / "curves.jsonl", "w", encoding="utf-8") as file:
        for epoch, (loss, validation_loss, score, rate) in enumerate(lines, 1):
            row = {
                "epoch": epoch,
                "step": 20 * epoch,
                "loss": float(loss),
                "validation_loss": float(validation_loss),
                "validation": score if isinstance(score, dict) else {"accuracy": float(score)},
                "learning_rate": float(rate),
                "examples_per_second": 41_000.0,
                "seconds": 0.14 * epoch,
            }
            file.write(json.dumps(row) + "\n")
    with open(folder / "findings.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in findings)
    np.savez_compressed(folder / "predictions.npz", **arrays)


def diabetes_run(folder, epochs=40):
    """A regression run: disease progression after a year from ten measurements, by gradient descent."""
    data = load_diabetes(scaled=True)
    x, y = data.data * 20, data.target
    order = np.random.default_rng(2).permutation(len(x))
    train, validation, test = np.split(order, [300, 350])
    mean, spread = y[train].mean(), y[train].std()
    scaled = (y - mean) / spread
    weights, lines = np.zeros(10), []
    for epoch in range(epochs):
        rate = 0.05 * (1 - epoch / epochs)
        weights -= rate * x[train].T @ (x[train] @ weights - scaled[train]) / len(train)
        losses = [float(np.mean((x[rows] @ weights - scaled[rows]) ** 2)) for rows in (train, validation)]
        lines.append((*losses, {"rmse": float(np.sqrt(losses[1]) * spread)}, rate))
    values = x[test] @ weights * spread + mean
    error = float(np.sqrt(np.mean((values - y[test]) ** 2)))
    about = about_run(
        name="diabetes",
        data={
            "name": "diabetes",
            "source": "scikit-learn's diabetes",
            "examples": len(x),
            "shape": [10],
            "dtype": "float64",
            "classes": None,
            "target_names": ["progression"],
            "units": ["points"],
            "sizes": {"train": len(train), "validation": len(validation), "test": len(test)},
        },
        test={
            "rmse": {
                "value": error,
                "low": error - 5,
                "high": error + 5,
                "level": 0.95,
                "count": len(test),
                "method": "bootstrap",
            }
        },
        initial_loss=1.0,
        network={
            "name": "hubel.nets.mlp",
            "arguments": {"hidden": [], "inputs": [10], "outputs": 1},
            "parameters": 11,
        },
    )
    about["objective"] = {"name": "hubel.objectives.SquaredError", "expected_initial_loss": 1.0}
    write_run(
        folder,
        about,
        lines,
        ids=np.array([f"patient {row}" for row in test]),
        targets=y[test],
        values=values.astype(np.float32),
    )
    return folder


def drawn_run(folder, *, classes, shape=(3, 32, 32), examples=2000, dtype=np.uint8, skill=3.0, mixed=False):
    """A run that nobody fitted: random pictures and probabilities of any number of classes."""
    generator = np.random.default_rng(0)
    num_classes = len(classes)
    targets = generator.integers(0, num_classes, examples)
    scores = generator.normal(size=(examples, num_classes))
    scores[np.arange(examples), targets] += skill
    probabilities = softmax(scores).astype(np.float32)
    values = probabilities.argmax(axis=1)
    worst = np.flatnonzero(values != targets)[:24]
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1.0
    pictures = (generator.random((24, *shape)) * top).astype(dtype)[: len(worst)]
    counts = np.bincount(targets, minlength=num_classes).tolist()
    mixtures = np.eye(num_classes, dtype=np.float32)[targets[:32]] * 0.7
    mixtures[np.arange(32), (targets[:32] + 1) % num_classes] += 0.3
    about = about_run(
        name="drawn",
        data={
            "name": "drawn",
            "examples": examples,
            "shape": list(shape),
            "dtype": np.dtype(dtype).name,
            "classes": list(classes),
            "counts": {part: dict(zip(classes, counts, strict=True)) for part in ("train", "test")},
            "sizes": {"train": examples, "test": examples},
        },
        test={"accuracy": accuracy(targets, values).as_json()},
        initial_loss=float(np.log(num_classes)),
        network={"name": "hubel.nets.resnet", "arguments": {"depth": 18}, "parameters": 11_689_512},
    )
    about["preprocessing"] = {"scale": [1 / 255] * shape[0]}
    lines = [(5 / epoch, 5.5 / epoch, 0.9 - 0.5 / epoch, 0.1) for epoch in range(1, 2501)]
    write_run(
        folder,
        about,
        lines,
        ids=np.array([f"photos/{row:06d}.jpg" for row in range(examples)]),
        targets=targets,
        values=values,
        probabilities=probabilities,
        worst_rows=worst,
        worst_pictures=pictures,
        entering_pictures=generator.normal(size=(32, *shape)).astype(np.float32),
        entering_targets=mixtures if mixed else targets[:32],
        entering_low=np.float32(-2),
        entering_high=np.float32(2),
    )
    return folder
