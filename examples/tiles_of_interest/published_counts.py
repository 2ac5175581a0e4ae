"""The published features of the 200 highest and 200 lowest tiles, tested again, as Markdown.

python published_counts.py
"""

import pandas as pd

from qupath_hccmil.survival.statistics.tiles_of_interest import compare_counts

# Liu et al. 2021 (arXiv 2106.00090), table 3: tiles with the feature among 200, and the p given.
PUBLISHED = (
    ("Stroma", 25, 4, 0.0003),
    ("High cytological atypia", 36, 11, 0.0010),
    ("Nuclear hyperchromasia", 28, 7, 0.0012),
    ("Immune cell infiltration", 3, 19, 0.0019),
)
TILES = 200


def table() -> str:
    """Our odds ratios and p-values beside the published p-values."""
    counts = pd.DataFrame(
        [(name, high, TILES, low, TILES) for name, high, low, _ in PUBLISHED],
        columns=["feature", "high", "high_total", "low", "low_total"],
    )
    found = compare_counts(counts)
    lines = [
        "| Feature | High | Low | Odds ratio (95 % interval) | Fisher p | χ² p | Yates p | "
        "Published p |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (_, row), (*_, published) in zip(found.iterrows(), PUBLISHED, strict=True):
        ratio = f"{row['odds_ratio']:.2f} ({row['lower']:.2f}–{row['upper']:.2f})"
        p = [f"{row[key]:.5f}" for key in ("fisher_p", "chi_square_p", "yates_p")]
        cells = [row["feature"], str(row["high"]), str(row["low"]), ratio, *p, f"{published:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
