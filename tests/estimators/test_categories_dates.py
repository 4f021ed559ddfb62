"""Dates and durations as categories: equal ones are the same category, whatever their unit."""
from datetime import datetime, timedelta

import numpy as np
import pytest

from ldl_cy import MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pd = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
RNG = np.random.default_rng(0)
DAYS = RNG.integers(0, 3, 60)
NUMBERS = RNG.standard_normal(60)
DATES = [[datetime(2020, 1, 1 + int(day)) for day in DAYS], [timedelta(int(day)) for day in DAYS]]


@pytest.mark.parametrize("kind, values", list(zip("Mm", DATES)), ids=["dates", "durations"])
def test_in_every_unit(kind, values):
    frames = [pd.DataFrame({"at": np.array(values, f"{kind}8[{unit}]"), "x": NUMBERS}) for unit in ("s", "us", "ns")]
    frames.append(frames[0].astype({"at": "category"}))
    for frame in frames:
        reg = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, categorical_features=["at"], random_state=0)
        reg.fit(frame, NUMBERS * DAYS)
        assert list(reg.embedding_of("at")) == sorted(set(values))
        for other in frames:
            np.testing.assert_array_equal(reg.predict(other), reg.predict(frame))
    late = frames[2].assign(at=frames[2]["at"].where(DAYS > 0))
    assert None in reg.fit(late, NUMBERS).embedding_of("at")
