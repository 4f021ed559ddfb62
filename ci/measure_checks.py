#!/usr/bin/env python
"""scikit-learn's checks of the eight estimators as they come, and with lbfgs as their solver.

    python ci/measure_checks.py

Prints how many pass, are skipped and fail, and the time; the exit code is 1 where one fails. (The tests run
the same checks on smaller networks.)
"""
import collections
import sys
import time
import warnings

from sklearn.utils.estimator_checks import check_estimator

from ldl_cy import estimators

SOLVERS = ("adam", "lbfgs")             # the default, and the full-batch one


def main():
    warnings.simplefilter("ignore")
    status = 0
    print(f"{'estimator':<22}{'solver':<8}{'passed':>8}{'skipped':>9}{'failed':>8}{'s':>8}")
    for name in estimators.__all__:
        for solver in SOLVERS:
            start = time.perf_counter()
            found = check_estimator(getattr(estimators, name)(solver=solver), on_skip=None, on_fail=None)
            count = collections.Counter(result["status"] for result in found)
            print(f"{name:<22}{solver:<8}{count['passed']:>8}{count['skipped']:>9}{count['failed']:>8}"
                  f"{time.perf_counter() - start:>8.1f}", flush=True)
            for result in found:
                if result["status"] == "failed":
                    print(f"    {result['check_name']}: {result['exception']}")
                    status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
