"""Whole jobs: they write runs, show progress, and call the rooms below in order."""

from hubel.workflows.crossval import CrossValidation, cross_validate, resume_folds
from hubel.workflows.ensemble import ensemble, resume_ensemble
from hubel.workflows.features import features
from hubel.workflows.fit import fit, resume
from hubel.workflows.generate import encode, sample, write_samples
from hubel.workflows.predict import evaluate, predict_files
from hubel.workflows.recognize import top_classes
from hubel.workflows.runs import demo, list_runs, report
from hubel.workflows.solve import resume_solution, solve
from hubel.workflows.write import write

__all__ = [
    "CrossValidation",
    "cross_validate",
    "demo",
    "encode",
    "ensemble",
    "evaluate",
    "features",
    "fit",
    "list_runs",
    "predict_files",
    "report",
    "resume",
    "resume_ensemble",
    "resume_folds",
    "resume_solution",
    "sample",
    "solve",
    "top_classes",
    "write",
    "write_samples",
]
