"""The clocks of the kernels' benchmark, on a simulated GPU; and that what is timed is what is checked."""

import importlib
import math
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from kernel_device import DEVICE

from maskfree_nb import tkloss
from maskfree_nb.tkloss import frame_pairs, grid_offsets

MS, US = 1e-3, 1e-6
BYTES_A_SECOND = 3e12
READ_LAUNCH, GRAPH_LAUNCH = 5 * US, 300 * US  # what the host needs


class SimulatedGPU:
    """A host that launches and a device that works behind it: two clocks; work can be captured in graphs."""

    def __init__(self):
        self.host, self.device, self.captured = 0.0, 0.0, None
        self.cuda = SimpleNamespace(
            Event=lambda **_: SimulatedEvent(self),
            CUDAGraph=lambda: SimulatedGraph(self),
            Stream=lambda: SimpleNamespace(wait_stream=lambda other: None),
            stream=lambda stream: self.nothing(),
            current_stream=lambda: SimpleNamespace(wait_stream=lambda other: None),
            graph=self.capture,
            synchronize=self.synchronize,
        )

    def launch(self, host_seconds, device_seconds):
        if self.captured is not None:
            self.captured.append(device_seconds)
            return
        self.host += host_seconds
        self.device = max(self.device, self.host) + device_seconds

    def synchronize(self):
        self.host = max(self.host, self.device)

    def ones(self, numbers, device):
        seconds = 4 * numbers / BYTES_A_SECOND
        return SimpleNamespace(sum=lambda: self.launch(READ_LAUNCH, seconds))

    @contextmanager
    def nothing(self):
        yield

    @contextmanager
    def capture(self, graph):
        self.captured = graph.work
        yield
        self.captured = None


class SimulatedEvent:
    def __init__(self, gpu):
        self.gpu = gpu

    def record(self):
        self.time = max(self.gpu.device, self.gpu.host)

    def synchronize(self):
        self.gpu.synchronize()

    def elapsed_time(self, end):
        return (end.time - self.time) / MS


class SimulatedGraph:
    def __init__(self, gpu):
        self.gpu, self.work = gpu, []

    def replay(self):
        self.gpu.launch(GRAPH_LAUNCH * len(self.work) / 20, sum(self.work))


@pytest.fixture
def load(monkeypatch):
    """Import a file of the benchmarks folder, which is no package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def simulated(load, monkeypatch):
    gpu = SimulatedGPU()
    module = load("gpu")
    monkeypatch.setattr(module, "torch", gpu)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: gpu.host), raising=False)
    return module, gpu


@pytest.mark.parametrize("host", [10 * US, 1 * MS, 50 * MS])
def test_what_the_host_does_is_not_in_the_time_of_events(simulated, host):
    module, gpu = simulated
    launches = 10  # of 7 us each

    def run():
        for _ in range(launches):
            gpu.launch(host / launches, 7 * US)

    assert all(math.isclose(seconds, 70 * US) for seconds in module.event_seconds(run))


def test_what_the_host_does_is_not_in_the_time_of_a_graph(simulated):
    module, gpu = simulated
    seconds = module.graph_seconds(lambda: gpu.launch(1 * MS, 7 * US))
    assert all(math.isclose(each, 7 * US, rel_tol=1e-6) for each in seconds)


def test_both_contenders_are_timed_so(simulated, load, monkeypatch):
    _, gpu = simulated
    harness = load("harness")
    monkeypatch.setattr(harness, "ROUND_SECONDS", 0.25)
    runs = (lambda: gpu.launch(1 * MS, 2 * MS), lambda: gpu.launch(4 * MS, 8 * MS))
    seconds = harness.measure(load("contenders").Case("toy", {}, *runs), torch.device("cuda"), rounds=2)
    assert all(math.isclose(each, 2 * MS) for each in seconds["ours"])
    assert all(math.isclose(each, 8 * MS) for each in seconds["baseline"])
    assert len(seconds["ours"]) > len(seconds["baseline"]) > 2


def test_a_sweep_times_forward_and_backward_in_graphs(load, monkeypatch):
    sweep = load("sweep")
    leaf = torch.ones(3, requires_grad=True)
    calls = []

    def graph_seconds(run):
        results = run()
        calls.append(len(results) if isinstance(results, list) else 0)
        return [5.0, 4.0, 9.0] if isinstance(results, list) else [1.0, 2.0, 2.0]

    monkeypatch.setattr(sweep, "graph_seconds", graph_seconds)
    times = sweep._apart("a kernel", iter(()), lambda: leaf * 2, [leaf]).seconds()
    assert times == {"forward": 2.0, "backward": 3.0, "sum": 5.0}
    assert calls == [0, 2]  # the output; the output and the gradient


@pytest.fixture
def matching_case(load, monkeypatch):
    """A case of `knn_match` on two clips, on this device, with this kernel."""
    matching = load("cases.matching_kernels")

    def make(kernel):
        monkeypatch.setattr(matching.backend, "kernels", lambda: SimpleNamespace(knn_match=kernel))
        lab = torch.randn(2, 5, 3, 6, 7, generator=torch.Generator().manual_seed(0))
        return matching._matching_case("small", "official", lab, "torch")

    return make


def test_all_clips_of_a_matching_case_are_checked(matching_case):
    shapes = []

    def kernel(lab, *arguments, **options):
        shapes.append(lab.shape)
        return tkloss.knn_match(lab, *arguments, **options)

    case = matching_case(kernel)
    assert case.setting["matches_per_pixel"] > 1
    differences = case.differences()
    assert differences["words unlike the torch path"] == 0
    assert set(shapes) == {(2, 5, 3, 6, 7)}


@pytest.mark.parametrize("timed", [True, False], ids=["as it is timed", "in both ways"])
def test_wrong_matches_in_the_last_clip_are_red(matching_case, load, timed):
    def kernel(lab, *arguments, return_index=False, **options):
        bits, index, distance = tkloss.knn_match(lab, *arguments, return_index=return_index, **options)
        if len(lab) > 1 and not (timed and return_index):
            bits[-1] = 0
            if return_index:
                index[-1], distance[-1] = 255, math.inf
        return bits, index, distance

    with pytest.raises(load("contenders").Disagreement, match="knn_match"):
        matching_case(kernel).differences()


def test_a_right_kernel_passes_the_check(load):
    lab = torch.randn(1, 2, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    matching = load("cases.matching_kernels")
    options = {"k": 5, "max_distance": matching.MAX_DISTANCE, "border": "zero"}
    differences = matching._check_matching(lab.to(DEVICE), frame_pairs(2), grid_offsets(1, 3), **options)
    assert 0 < differences["distance"] < matching.MARGIN
