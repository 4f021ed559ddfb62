"""Readers of the data files that ci/measure_*.py take scores on; each gets the folder in which they lie.

    fashion_mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz    Xiao et al. 2017, the original files
    mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz    LeCun et al. 1998, the original files
    sequences/japanesevowels.npz       Kudo et al. 1999: X_train (n, 12 channels, time), len_train, y_train; _test
    tabular/california_housing.npz     Pace and Barry 1997: data (20640, 9), the nine columns as they were published
    tabular/adult.npz                  Kohavi 1996: Xnum (n, 6), Xcat (n, 8) codes of `categories`, y; _train, _test
    tabular/airfoil.npz                Brooks, Pope and Marcolini 1989: X (1503, 5), target
    series/{airline-passengers,co2,monthly-sunspots}.csv    a header, then a date and a number a row
    uci_regression/{concrete,yacht}.npz    Yeh 1998: X (1030, 8), y; Gerritsma et al. 1981: X (308, 6), y
    ucr/NAME.npz    sets of the UCR archive, Dau et al. 2018: X_train (n, time), y_train, X_test, y_test

FileNotFoundError where a file is not there.
"""
import csv
import gzip
import os
from pathlib import Path

import numpy as np

DEFAULT = Path(os.environ.get("LDL_CY_DATA", "data"))


def fashion(folder, name="fashion_mnist"):
    """X (60000, 784) in [0, 1], y, X_test (10000, 784), y_test."""
    def read(part, skip):
        with gzip.open(folder / name / f"{part}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=skip)

    X, X_test = (read(f"{part}-images-idx3", 16).reshape(-1, 784).astype("float32") / 255 for part in ("train", "t10k"))
    y, y_test = (read(f"{part}-labels-idx1", 8) for part in ("train", "t10k"))
    return X, y, X_test, y_test


def mnist(folder):
    """The same of handwritten digits."""
    return fashion(folder, "mnist")


def japanese_vowels(folder):
    """X, a list of (time, 12) arrays of several lengths, y, X_test, y_test."""
    data = np.load(folder / "sequences" / "japanesevowels.npz")
    X, X_test = ([x[:n] for x, n in zip(data[f"X_{part}"].transpose(0, 2, 1), data[f"len_{part}"])]
                 for part in ("train", "test"))
    return X, data["y_train"], X_test, data["y_test"]


def california(folder):
    """X (20640, 8) as in scikit-learn's fetch_california_housing, rooms and people a household; y in 100,000 $."""
    longitude, latitude, age, rooms, bedrooms, people, households, income, value = np.load(
        folder / "tabular" / "california_housing.npz")["data"].astype(float).T
    X = np.column_stack([income, age, rooms / households, bedrooms / households, people, people / households,
                         latitude, longitude])
    return X, value / 1e5


def airfoil(folder):
    """X (1503, 5), y in dB."""
    data = np.load(folder / "tabular" / "airfoil.npz")
    return data["X"], data["target"]


def uci(folder, name):
    """X (n, columns), y of one of the sets in uci_regression."""
    data = np.load(folder / "uci_regression" / f"{name}.npz")
    return data["X"], data["y"]


def ucr(folder, name):
    """X (n, 1, time) of standardised series, y, X_test, y_test."""
    data = np.load(folder / "ucr" / f"{name}.npz")
    X, X_test = (data[f"X_{part}"].astype("float32") for part in ("train", "test"))
    X, X_test = ((x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-8) for x in (X, X_test))
    return X[:, None], data["y_train"], X_test[:, None], data["y_test"]


def adult(folder):
    """Frames of pandas with 6 columns of numbers and 8 of categories, "?" as missing; whether the income is > 50K."""
    import pandas as pd

    data = np.load(folder / "tabular" / "adult.npz")
    found = []
    for part in ("train", "test"):
        numbers, codes = data[f"Xnum_{part}"].astype(float), data[f"Xcat_{part}"]
        columns = dict(zip(data["num_names"].tolist(), numbers.T))
        for name, labels, code in zip(data["cat_names"].tolist(), data["categories"].tolist(), codes.T):
            column = pd.Categorical.from_codes(code, labels.split("|"))
            columns[name] = column.remove_categories([label for label in column.categories if label == "?"])
        found += [pd.DataFrame(columns), data[f"y_{part}"].astype(int)]
    return tuple(found)


def airline(folder):
    """(144,) logarithms of thousands of passengers a month, 1949-60: Box and Jenkins, series G."""
    return np.log(read_column(folder / "series" / "airline-passengers.csv"))


def co2(folder):
    """(2284,) parts per million, weekly, Mauna Loa 1958-2001; gaps are filled by straight lines."""
    values = read_column(folder / "series" / "co2.csv")
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known])


def sunspots(folder):
    """(2820,) square roots of the monthly numbers of sunspots, 1749-1983."""
    return np.sqrt(read_column(folder / "series" / "monthly-sunspots.csv"))


def read_column(path):
    """The last column of a .csv file with a header, (n,); what is no number is NaN."""
    with open(path, newline="") as file:
        cells = [row[-1] for row in list(csv.reader(file))[1:] if row]
    return np.array([float(cell) if cell.strip() else np.nan for cell in cells])


SERIES = {"airline passengers": airline, "CO2": co2, "sunspots": sunspots}
