"""The demo: small networks on scikit-learn's data, each with a target for its score."""
from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["run"]

QUICK_EPOCHS = 2


def run(output: str | Path = "ldl_cy_demo.png", quick: bool = False) -> int:
    """Train all systems, print a table, and plot loss curves and filters.

    Parameters
    ----------
    output : path, default="ldl_cy_demo.png"
        The plot, a PNG; not written if matplotlib is not installed.
    quick : bool, default=False
        Whether to train for two epochs only; targets are not checked then.

    Returns
    -------
    int
        The exit code: 0, or 1 if a target is missed.
    """
    from ldl_cy.demo.presentation import draw, table
    from ldl_cy.demo.systems import SYSTEMS, Result

    results: list[Result] = []
    for train in SYSTEMS:
        summary = (train.__doc__ or "").partition("\n")[0]
        print(f"[{len(results) + 1}/{len(SYSTEMS)}] {summary}", flush=True)
        results.append(train(epochs=QUICK_EPOCHS if quick else None))
        sys.stderr.flush()
    print(f"\n{table(results)}\n")

    try:
        draw(results, output)
    except ImportError:
        print("No picture: matplotlib is not installed (pip install matplotlib).")
    else:
        print(f"Loss curves and first-layer filters: {output}")

    if quick:
        print("Two epochs each: the targets were not checked.")
        return 0
    missed = [f"{r.system}: {r.score_text}, target {r.target_text}" for r in results if not r.reached]
    seconds = sum(r.seconds for r in results)
    print(*missed or [f"All {len(results)} targets reached in {seconds:.1f} s."], sep="\n")
    return 1 if missed else 0
