"""Linear algebra of networks: numbers in, numbers out; nothing here knows an estimator.

    ridge       least squares with a penalty, from sums over blocks of rows
"""
