"""Make the notebooks in ``examples/notebooks`` from the scripts next to them.

    python scripts/make_notebooks.py

A script is divided into cells by lines ``# %%`` (code) and ``# %% [markdown]`` (text in comments),
as Jupyter, VS Code and Spyder read it. Notebooks have no outputs, and change only with the script.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "notebooks"
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook_of(script: str) -> str:
    """Text of the notebook that a script makes."""
    cells = []
    for number, part in enumerate(script.split("# %%")[1:], 1):
        first, _, rest = part.partition("\n")
        lines = rest.strip("\n").split("\n")
        kind = "markdown" if first.strip() == "[markdown]" else "code"
        if kind == "markdown":
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        source = [f"{line}\n" for line in lines[:-1]] + lines[-1:]
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": source,
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    content = {"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    for script in sorted(FOLDER.glob("*.py")):
        text = notebook_of(script.read_text(encoding="utf-8"))
        script.with_suffix(".ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
