"""Options that several commands share, so that each is worded once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

EngineChoice = Literal["auto", "paquo", "native"]
F = TypeVar("F", bound=Callable[..., Any])

PathType = click.Path(path_type=Path)

engine: Callable[[F], F] = click.option(
    "--engine",
    type=click.Choice(["auto", "paquo", "native"]),
    default="auto",
    show_default=True,
    help="Through paquo and your QuPath, or without Java. auto: paquo where a QuPath is found.",
)
quiet: Callable[[F], F] = click.option("--quiet", is_flag=True, help="Print errors only.")
as_json: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON."
)
project: Callable[[F], F] = click.argument("project", type=PathType)
device: Callable[[F], F] = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
)
runtime: Callable[[F], F] = click.option(
    "--runtime",
    type=click.Choice(["auto", "openvino", "torch"]),
    default="auto",
    show_default=True,
    help="auto: OpenVINO on a CPU, torch on a GPU.",
)
slides: Callable[[F], F] = click.option(
    "--slides",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder in which slides that have moved are looked for by file name.",
)
images: Callable[[F], F] = click.option(
    "--image", "images", multiple=True, metavar="NAME", help="Name or glob; repeatable."
)
annotation_classes: Callable[[F], F] = click.option(
    "--annotation-class",
    "annotation_classes",
    multiple=True,
    metavar="NAME",
    help="Class of tumour outlines; repeatable. Default: Tumor, Tumour, HCC.",
)
