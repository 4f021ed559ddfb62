"""What the benchmark counts and concludes, without a clock: flops of a row, ratios, verdicts."""
import pytest
from benchmarks import aims, common, layers, ours, report, row, rows, weights


def test_flops_by_hand():
    # 32 rows: forward and dW of 20-64, forward, dW and dX of 64-64 and 64-2
    assert row.flops(rows.BY_KEY["mlp20"], "train") == 2 * 32 * (2 * 20 * 64 + 3 * (64 * 64 + 64 * 2))
    assert row.flops(rows.BY_KEY["mlp20"], "one_row") == 2 * (20 * 64 + 64 * 64 + 64 * 2)
    # 28x28 -> 26x26x32 -> 24x24x64 -> 12x12x64 = 9216 -> 128 -> 10
    first, second = 26 * 26 * 32 * 9, 24 * 24 * 64 * 9 * 32
    assert row.flops(rows.BY_KEY["cnn28"], "train") == 2 * 64 * (
        2 * first + 3 * (second + 9216 * 128 + 128 * 10))
    # four gates; the recurrent products have a gradient of their input, those with x have none
    assert row.flops(rows.BY_KEY["lstm-t50-16-64"], "train") == 2 * 32 * (
        50 * 4 * (2 * 16 * 64 + 3 * 64 * 64) + 3 * 64 * 10)


def test_flops_of_branches_by_hand():
    # two paths of one convolution on 8 steps; what is behind both has a dX
    first = layers.Add([layers.Conv(4, 3, (1, 1))], [layers.Conv(4, 1)])
    made = row.Row("key", "title", (8, 2), 16, (first, layers.GlobalMean(), layers.Dense(10)))
    assert row.flops(made, "train") == 2 * 16 * (2 * 8 * 2 * 4 * (3 + 1) + 3 * 4 * 10)
    # with an empty path the sum needs no dX either, a layer with weights does
    normed = row.Row("key", "title", (8, 4), 16, (layers.Add([layers.BatchNorm()], []), layers.Conv(4, 1)))
    assert row.flops(normed, "train") == 2 * 16 * 3 * 8 * 4 * 4


@pytest.mark.parametrize("one", rows.ROWS, ids=lambda one: one.key)
def test_the_library_has_the_same_weights_and_shapes(one):
    graph = ours.build(one, "float32").network.graph
    assert graph.n_params == weights.count(one)
    assert graph.shapes[-1] == layers.after(one.network, one.shape) == (one.outputs,)
    if not one.has(layers.Embedding) and not any(isinstance(layer, layers.Branches) for layer in one.network):
        assert [graph.shapes[value] for value in graph.outputs.values()] == [
            shape for _, _, shape in layers.walk(one.network, one.shape)]


@pytest.mark.parametrize(("key", "made"), [
    ("resnet20", lambda networks: networks.resnet(20)), ("fcn", lambda networks: networks.fcn()),
    ("inception", lambda networks: networks.inception_time(depth=3, kernel_size=39))])
def test_networks_are_those_of_the_library(key, made):
    from ldl_cy import Sequential, networks
    from ldl_cy.layers import Dense

    one = rows.BY_KEY[key]
    own = Sequential([*made(networks), Dense(10)]).build(one.shape)
    assert [view.shape for view in own.parameters.values()] == [
        shape for layer, before, _ in layers.walk(one.network, one.shape) for shape in layer.weights(before).values()]


def test_rows_are_found_by_the_beginning_of_their_key():
    assert [row.key for row in rows.find(["gru", "mlp20"])] == ["gru-t50-16-64", "gru-t100-64-128", "mlp20"]
    assert rows.find([]) == list(rows.ROWS)
    assert [row.key for row in rows.find(["mlp784"])] == ["mlp784"]
    with pytest.raises(SystemExit, match="no row 'vgg16'"):
        rows.find(["vgg16"])


def test_steps_are_counted_as_done():
    calls = []

    def run(count):
        calls.append(count)
        return 10 * count

    times = common.measure(run, 1e-6, 3)
    assert len(times) == 3 and len(calls) >= 5 and all(t > 0 for t in times)


def test_a_call_that_takes_long_is_not_repeated(monkeypatch):
    calls = []
    monkeypatch.setattr(common, "LONG", 0.0)
    step, = common.measure(lambda count: calls.append(count) or 4, 1e-9, 3)
    assert len(calls) == 2 and step > 0


def found(ours, theirs, **more):
    """A result file with one row, its times given per turn."""
    contenders = {"ldl_cy": {"turns": [{"times": t} for t in ours]},
                  "torch": {"turns": [{"times": t} for t in theirs], "setting": {"update": "fused"}}}
    result = {"row": "mlp20", "part": "train", "dtype": "float32", "threads": 1, "flops": 100.0,
              "contenders": contenders, **more}
    return {"date": "today", "absent": {"onnxruntime": "onnx is not installed"}, "gemm": {"float32": [50.0]},
            "options": {"turns": 3, "repeats": 1, "seconds": 0.3, "short": False}, "results": [result],
            "machine": {"processor": "p", "processors available": 2, "system": "s", "blas": "b",
                        "instruction set": "v", "versions": {"ldl_cy": "0"}}}


def test_the_ratio_is_the_median_of_the_turns_ratios():
    # the second turn met another program: its ratio counts as one of three
    line, = report.summarise(found([[2.0, 3.0], [20.0], [4.0]], [[24.0], [20.0], [28.0, 40.0]]))
    assert line["ratio"] == 7.0 and line["ours"] == 4.0 and line["best"] == "torch"
    assert line["peers"]["torch"] == {"seconds": 24.0, "ratio": 7.0, "setting": "fused"}
    assert line["verdict"] == "floor" and line["share"] == 0.5


def test_two_ranks_are_compared_turn_by_turn():
    times = {"1 thread": [4.0, 40.0, 8.0], "2 threads": [3.0, 2.0, 3.0], "1 rank, 2 shards": [4.0] * 3,
             "1 rank, 8 shards": [5.0] * 3, "2 ranks, 2 shards": [2.0, 2.0, 4.0], "2 ranks, 8 shards": [4.0, 5.0, 4.0],
             "torch DDP, 2 processes": [6.0, 6.0, 6.0]}
    both = [{"row": "cnn28", "dtype": "float32", "contenders": {
        name: {"turns": [{"times": [1e-3 * t, 1.0]} for t in turns]} for name, turns in times.items()}},
        {"row": "mlp20", "dtype": "float32", "contenders": {
            name: {"turns": [{"times": [1e-5]}] if name == "1 thread" else []} for name in times}}]
    (header, cells), (compared, ratios) = report.ranks_tables(both)
    assert header[1:] == list(times) and len(cells) == len(ratios) == 1
    assert cells[0][1:] == ["8 ms", "3 ms", "4 ms", "5 ms", "2 ms", "4 ms", "6 ms"]
    assert compared[1] == "2 shards: 1 thread"
    assert ratios[0][1:] == ["2", "1", "3", "2", "0.75", "1.5"]
    text = report.render({**found([[1e-5]], [[2e-4]]), "ranks": both})
    assert "CNN 32C3" in text and "less than 1 ms on one thread, not measured: MLP 20-64-64-2" in text


def test_processes_that_run_together_do_as_many_steps():
    counts = []

    def run(count):
        counts.append(count)
        return count

    # what the first measured, whatever this one did
    common.measure(run, 1.0, 2, of_first=lambda value: value and 0.6)
    assert counts == [1, 1, 2, 2]


def test_verdicts_and_means():
    assert [report.verdict(r, aims.Aim(3, 6)) for r in (2.9, 3, 6)] == ["SHORT", "floor", "stretch"]
    assert report.verdict(2, aims.Aim(1.0)) == "floor" and report.verdict(2, None) == ""
    assert report.geometric_mean([2, 8]) == pytest.approx(4)


@pytest.mark.parametrize("style", ["plain", "markdown"])
def test_tables_hold_every_row_and_name_what_is_absent(style):
    text = report.render(found([[1e-5]], [[2e-4]]), style)
    assert "MLP 20-64-64-2" in text and "torch (fused)" in text and "20" in text
    assert "onnxruntime is absent: onnx is not installed" in text
    failed = found([[1e-5]], [])
    failed["results"][0]["contenders"]["torch"] = {"turns": [], "error": "RuntimeError: no"}
    assert "RuntimeError: no" in report.render(failed, style)
