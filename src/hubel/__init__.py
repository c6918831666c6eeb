"""hubel takes a scientist from labelled data to a network that can be trusted.

`run = hubel.fit("photos/")` (or `hubel.fit(x, y)`, a table, built-in data) writes a folder with the evidence; `run.test` has the
score with its interval, `run.folder` says where.
"""

import lazy_loader

from hubel.core.version import VERSION as __version__  # noqa: F401

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
