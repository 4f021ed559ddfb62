"""Linear algebra of networks: numbers in, numbers out; nothing here knows an estimator.

    ridge       least squares with a penalty, from sums over blocks of rows
    ridge_fit   the passes over rows that make these sums, in one process or over ranks
"""
