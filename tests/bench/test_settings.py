"""How settings are chosen, without a peer and without a clock."""
import pytest
from benchmarks import common, runner, settings

STEP = {("b", "x"): 3.0, ("a", "x"): 2.0, ("a", "y"): 1.0}      # seconds of a step in units of SECONDS


@pytest.fixture
def calls(monkeypatch):
    """What was prepared and repeated; a step takes as long as STEP says."""
    found = {"prepared": [], "repeated": []}

    def calibrate(setting, seconds, of_first):
        return 1, STEP[setting] * seconds, STEP[setting] * seconds

    def repetition(setting, count, of_first):
        found["repeated"].append(setting)
        return STEP[setting] * settings.SECONDS

    monkeypatch.setattr(common, "calibrate", calibrate)
    monkeypatch.setattr(common, "repetition", repetition)
    return found


def choose(calls):
    def prepare(row, setting):
        calls["prepared"].append((setting["first"], setting["second"]))
        return calls["prepared"][-1]

    return settings.explore(prepare, ("row",), [("first", ("b", "a")), ("second", ("x", "y"))], lambda value: value)


def test_one_axis_after_the_other(calls):
    best, tried = choose(calls)
    assert best == {"first": "a", "second": "y"}
    assert [(one["setting"]["first"], one["setting"]["second"]) for one in tried] == [
        ("b", "x"), ("a", "x"), ("a", "x"), ("a", "y")]
    # the winner of the first axis is not prepared again
    assert calls["prepared"] == [("b", "x"), ("a", "x"), ("a", "y")]


@pytest.mark.parametrize(("rounds", "longest"), [(settings.ROUNDS, 100), (2, 7), (0, 2)])
def test_long_steps_are_repeated_less_often(rounds, longest, calls, monkeypatch):
    monkeypatch.setattr(settings, "LONGEST", longest * settings.SECONDS)     # the longest step is of 3
    assert choose(calls)[0] == {"first": "a", "second": "y"}
    assert len(calls["repeated"]) == 4 * rounds


def test_very_long_steps_take_the_first_settings(calls, monkeypatch):
    monkeypatch.setattr(common, "LONG", 2.5 * settings.SECONDS)
    assert choose(calls) == ({"first": "b", "second": "x"}, [])


@pytest.fixture
def asked(monkeypatch):
    """Jobs of each process, answered without one."""
    found = []

    def ask(options, jobs, threads):
        found.append([(job["peer"], job["part"], job["dtype"], "explore" if job["explore"] else job["setting"])
                      for job in jobs])
        return [{"setting": {"update": "foreach"}, "tried": []} if job["explore"] else
                {"not_supported": "no"} if (job["peer"], job["dtype"]) == ("onnxruntime", "float64") else
                {"times": [1.0], "setting": job["setting"], "memory_before": 1, "memory_peak": 2} for job in jobs]

    monkeypatch.setattr(runner, "ask", ask)
    return found


def measured(parts, peers, turns):
    """Results of mlp20 in both dtypes."""
    options = runner.Options([], parts, ["float32", "float64"], [1], peers, turns=turns)
    results = [{"row": "mlp20", "part": part, "dtype": dtype, "threads": 1, "contenders": {
        peer: {"turns": []} for peer in (runner.OURS, *peers)}} for part in parts for dtype in options.dtypes]
    chosen = {}
    for members in runner.groups(results):
        runner.run_turns(options, members, chosen)
    return results


def test_a_setting_is_looked_for_once_for_a_row_and_part(asked):
    results = measured(["train"], ["torch", "scikit-learn"], 1)
    # scikit-learn's training has no settings
    assert asked[0] == [("torch", "train", "float32", "explore")]
    assert asked[1:] == [[(peer, "train", dtype, {"update": "foreach"} if peer == "torch" else {})]
                         for dtype in ("float32", "float64") for peer in (runner.OURS, "torch", "scikit-learn")]
    assert all(result["contenders"]["torch"]["setting"] == {"update": "foreach"} for result in results)
    assert all(result["contenders"]["torch"]["turns"] == [{"times": [1.0], "memory_before": 1, "memory_peak": 2}]
               for result in results)


def test_predictions_of_a_row_share_a_process(asked):
    results = measured(["one_row", "inference"], ["onnxruntime"], 2)
    four = [(part, dtype) for part in ("one_row", "inference") for dtype in ("float32", "float64")]
    explored, turns = asked[:2], asked[2:]
    assert [job[:3] for jobs in explored for job in jobs] == [
        ("onnxruntime", "one_row", "float32"), ("onnxruntime", "inference", "float32")]
    assert [[job[1:3] for job in jobs] for jobs in turns] == [four, four, four, four[::2]]
    for result in results:
        for name, contender in result["contenders"].items():
            supported = name == runner.OURS or result["dtype"] == "float32"
            assert contender["turns"] == ([{"times": [1.0]}] * 2 if supported else [])
            assert ("not_supported" in contender) == (not supported)
