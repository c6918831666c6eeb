"""Options that say how data are read: tables, pictures, series, forecasts, masks, texts."""

from __future__ import annotations

from typing import Annotated

import typer

Target = Annotated[
    list[str] | None,
    typer.Option(
        help='Column or array of the targets (default: label); a,b or several times for several columns. "self": the examples themselves.'
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="Columns of a table that are features (default: all others); a,b or several times."),
]
Ignore = Annotated[
    list[str] | None, typer.Option(help="Columns of a table to leave out; a,b or several times.")
]
Category = Annotated[
    list[str] | None,
    typer.Option("--category", help="Columns of a table whose numbers are names; a,b or several times."),
]
Missing = Annotated[
    list[str] | None,
    typer.Option(
        "--missing",
        help='What else says "not measured" in a table, such as "?" or -999; several times for several.',
    ),
]
Size = Annotated[
    str | None, typer.Option(help='Size of pictures, "96" or "96x128" (default: their median, at most 224).')
]
Resize = Annotated[str, typer.Option(help="How pictures of other sizes are fitted: pad, crop or stretch.")]
Channels = Annotated[
    str | None,
    typer.Option(
        help='"rgb" or "grey" converts pictures; "first" or "last": where arrays have their channels.'
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        help='What files or arrays hold where that is not plain: "volumes" (else pictures with channels), "series" or "image series".'
    ),
]
Nan = Annotated[str, typer.Option(help='NaN and infinite values: "refuse", or set to "zero".')]
Task = Annotated[
    str | None,
    typer.Option(
        help="What the targets are, where that is not plain: classes, labels, values or probabilities."
    ),
]
Skip = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out files that can not be read, and say which.")
]
Symmetry = Annotated[
    list[str] | None,
    typer.Option(
        "--symmetry",
        help="A change that leaves every label true (flip_horizontal, flip_vertical, rotate_90, rotate, shift, …); several times for several.",
    ),
]
Time = Annotated[str | None, typer.Option(help="Column of the time, where its name does not say so.")]
Forecast = Annotated[
    int | None,
    typer.Option(
        help="DATA is one long series: forecast so many steps of the columns named by --target (default: all)."
    ),
]
Season = Annotated[
    int | None,
    typer.Option(help="Steps in a season, for the naive forecast (default: found in the training part)."),
]
Unlabelled = Annotated[
    str | None,
    typer.Option(
        help='The value in masks that means "not labelled" (default: 255 in 8-bit masks), or "none" where every pixel has a class; of pictures '
        'without labels of boxes, "empty" (nothing is on them) or "skip".'
    ),
]
Tile = Annotated[
    str | None,
    typer.Option(
        help='Pictures with boxes are cut into tiles of this size, "256" or "256x512" (default: by the sizes of the objects, where they are larger than 512).'
    ),
]
Overlap = Annotated[
    int | None, typer.Option(help="Pixels that tiles share (default: as large as most objects).")
]
VocOffset = Annotated[
    int | None,
    typer.Option(
        "--voc-offset", help="What VOC's pixels count from: 1, or 0 (default: 0 where a corner is 0, else 1)."
    ),
]
Download = Annotated[
    bool, typer.Option("--download", help="Permit the network, for built-in data that are not here.")
]

Length = Annotated[
    int | None,
    typer.Option(
        help="Symbols in a window of a text (default: 100), or steps that a forecast looks at (2 × FORECAST, at least 30)."
    ),
]
Step = Annotated[
    int | None,
    typer.Option(help="Symbols from a window of a training text to the next (default: its length)."),
]
Tokens = Annotated[
    str | None, typer.Option(help="What a symbol of a text is: characters (default) or words.")
]
Least = Annotated[
    int | None,
    typer.Option(help="How often a symbol occurs in the training part to be one (default: 1; words 2)."),
]
