"""The version of hubel: one string, read by the package, its metadata and every run folder."""

VERSION = "0.1.0"
