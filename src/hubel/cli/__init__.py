"""The command line: words to objects, in one visible dict."""

from hubel.cli.main import main

__all__ = ["main"]
