"""The parts fit and growth, aims, and what holds everybody to AVX2: without a clock."""
import math

import pytest
from benchmarks import aims, fits, growth, isa, layers, merging, report, row, rows, runner, weights


def test_aims_depend_on_the_peers_that_were_measured():
    assert aims.aim("mlp20", "train", "float32", None, {"torch", "jax"}) == aims.Aim(2.1, 2.3)
    assert aims.aim("mlp20", "train", "float32", None, {"torch"}) == aims.Aim(7, 12)
    assert aims.aim("mlp20", "train", "float32", "v3", {"torch", "jax"}) == aims.Aim(9, 12, of="torch")
    assert aims.aim("fcn", "train", "float32", None, {"torch", "jax"}) == aims.Aim(2, 2.6, of="torch")
    assert aims.aim("fcn", "train", "float32", "v3", {"torch"}) is None
    assert aims.aim("fcn", "train", "float64", None, {"torch"}) == aims.Aim(1.3, of="torch")
    assert aims.aim("fcn", "one_row", "float32", None, set()) == aims.Aim(1.0)


def test_every_row_has_an_aim():
    assert set(aims.TRAIN) == set(aims.TRAIN_WITHOUT_JAX) == {one.key for one in rows.FIRST}
    assert set(aims.TRAIN_OF_TORCH) == {one.key for one in rows.NETWORKS}
    assert set(aims.TRAIN_OF_TORCH_V3) < set(rows.BY_KEY)


def test_the_verdict_is_beside_the_peer_of_the_aim():
    contenders = {"ldl_cy": 1.0, "torch": 2.5, "jax": 1.5}
    result = {"row": "fcn", "part": "train", "dtype": "float32", "threads": 1, "flops": 1.0, "contenders": {
        name: {"turns": [{"times": [time]}]} for name, time in contenders.items()}}
    found = {"gemm": {"float32": [1.0]}, "options": {"isa": None}, "results": [result]}
    line, = report.summarise(found)
    assert line["best"] == "jax" and line["ratio"] == 1.5 and line["verdict"] == "floor"
    _, (cells,) = report.main_table([line])
    assert "2 of torch" in cells
    del result["contenders"]["torch"]
    assert report.summarise(found)[0]["verdict"] == ""


def test_pieces_of_one_machine_are_merged():
    def piece(key, dtype, processor="p", **more):
        return {"machine": {"processor": processor, "versions": {"ldl_cy": "0", key: "1"}}, "options": {"turns": 3},
                "absent": {"torch": "torch is not installed"}, "gemm": {dtype: [1.0]},
                "results": [{"row": key, "contenders": {"ldl_cy": {}, **more}}]}

    pieces = [piece("a", "float32"), piece("b", "float64", torch={}), piece("c", "float32", processor="q")]
    whole, other = merging.merge(pieces)
    assert [result["row"] for result in whole["results"]] == ["a", "b"] and len(other["results"]) == 1
    assert whole["gemm"] == {"float32": [1.0], "float64": [1.0]} and whole["absent"] == {} and other["absent"]
    assert whole["machine"]["versions"] == {"ldl_cy": "0", "a": "1", "b": "1"}
    assert len(pieces[0]["results"]) == 1                       # pieces are left as they were


def test_variables_that_hold_everybody_to_avx2(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    held = runner.environment(1, "v3")
    assert held["OPENBLAS_CORETYPE"] == "Haswell" and held["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert "--xla_cpu_max_isa=AVX2" in held["XLA_FLAGS"] and "eigen=false" in held["XLA_FLAGS"]
    free = runner.environment(2)
    assert "OPENBLAS_CORETYPE" not in free and free["XLA_FLAGS"] == "" and free["OMP_NUM_THREADS"] == "2"
    assert isa.held_to(None) == {}


@pytest.mark.parametrize("axis", growth.AXES)
def test_rows_of_a_growth(axis):
    one, other = (growth.row(axis, size) for size in growth.AXES[axis].sizes[:2])
    assert layers.after(one.network, one.shape) == (one.outputs,)
    changed = {"rows": lambda r: r.batches, "width": weights.count, "depth": lambda r: len(r.network),
               "length": lambda r: row.flops(r, "train")}[axis]
    assert changed(one) < changed(other)


def test_exponents():
    sizes = [10, 100, 1000]
    assert growth.exponent(sizes, [2e-6 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert growth.exponent([10], [1.0]) is None
    results = [{"axis": "rows", "size": size, "dtype": "float32", "threads": 1, "contenders": {
        "ldl_cy": {"turns": [{"times": [t]}]}, "torch": {"turns": [], "error": "RuntimeError: no"}}}
        for size, t in ((1_000, 1e-5), (10_000, 1e-5), (100_000, 2e-5))]
    (title, header, cells), = growth.tables(results)
    assert title.endswith("seconds of one epoch") and header[1:4] == ["1,000", "10,000", "100,000"]
    # epochs of 10, 100 and 1,000 steps
    assert cells[0][1:4] == ["100 µs", "1 ms", "20 ms"]
    assert cells[0][4:] == [f"{math.log10(200) / 2:.2f}", f"{math.log10(20):.2f}".rstrip("0")]
    assert cells[1] == ["torch", "-", "-", "-", "-", "-"]


def test_fits_are_left_out_without_their_data(tmp_path):
    options = runner.Options([], ["fit"], ["float32"], [1], [], data=tmp_path)
    results, left_out = fits.run(options)
    assert results == [] and len(left_out) == len(fits.FITS) and "there is no" in next(iter(left_out.values()))


def test_a_table_of_fits():
    turns = {"ldl_cy": (0.5, 0.81), "torch": (1.0, 0.8), "torch, channels_last": (2.0, 0.8)}
    results = [{"fit": "fashion-cnn", "threads": 1, "contenders": {
        name: {"turns": [{"times": [time, 9.0], "score": score}]} for name, (time, score) in turns.items()}}]
    header, (cells,) = fits.tables(results)
    assert header == ["fit", "ldl_cy", "torch (times)", "torch, channels_last (times)", "accuracies"]
    assert cells[1:] == ["500 ms", "1,000 ms (2)", "2,000 ms (4)", "0.810 / 0.800 / 0.800"]


@pytest.mark.parametrize("contender", ["ldl_cy", "scikit-learn", "torch"])
def test_a_fit_of_each_contender(contender, tmp_path, monkeypatch):
    import numpy as np
    from benchmarks import fit_tasks

    if contender == "torch":
        pytest.importorskip("torch", reason="the extra 'bench' brings PyTorch, one of the contenders")
    rng = np.random.default_rng(0)
    kinds = ["fashion-mlp"] if contender == "scikit-learn" else list(fits.BY_KEY)
    images = rng.random((40, 784), dtype="float32")
    data = {"fashion": (images, np.arange(40) % 10, images, np.arange(40) % 10),
            "japanese_vowels": ([rng.random((n, 12)) for n in range(5, 25)], np.arange(20) % 3,
                                [rng.random((n, 12)) for n in range(5, 25)], np.arange(20) % 3)}
    import datasets

    for name, value in data.items():
        monkeypatch.setattr(datasets, name, lambda folder, value=value: value)
    for key in kinds:
        answer = fit_tasks.fit({"fit": key, "peer": contender, "contender": contender, "threads": 1, "rows": 20,
                                "epochs": 1, "data": str(tmp_path), "isa": None, "repeats": 2})
        assert len(answer["times"]) == 2 and 0 <= answer["score"] <= 1
