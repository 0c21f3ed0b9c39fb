// An extension as a user writes one, for tests/unit/test_native_cancellation.py. Loops that nobody cancels end after
// 20 seconds.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "conductor_grpc/pybind11_cancellation.hpp"

namespace py = pybind11;
using conductor_grpc::Cancellation;

namespace {

std::atomic<int> loops{0};

struct Loop {
    Loop() { ++loops; }
    ~Loop() { --loops; }
};

bool in_time(std::chrono::steady_clock::time_point end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return std::chrono::steady_clock::now() < end;
}

/// Whether the cancellation came in time.
bool loop(Cancellation cancellation) {
    const Loop here;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!cancellation.cancelled() && in_time(end)) {
    }
    return cancellation.cancelled();
}

void loop_or_throw(const Cancellation& cancellation) {
    const Loop here;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (in_time(end)) {
        cancellation.throw_if_cancelled();
    }
}

bool loop_if_any(std::optional<Cancellation> cancellation) { return cancellation && loop(*cancellation); }

} // namespace

PYBIND11_MODULE(cancellable, module) {
    const py::call_guard<py::gil_scoped_release> unlocked;
    module.def("loops", [] { return loops.load(); });
    module.def("loop", &loop, py::arg("cancellation"), unlocked);
    module.def("loop_or_throw", &loop_or_throw, py::arg("cancellation"), unlocked);
    module.def("loop_if_any", &loop_if_any, py::arg("cancellation") = py::none(), unlocked);
    module.def("cancelled", [](Cancellation it) { return it.cancelled(); }, py::arg("it") = py::none());
    module.def("overloaded", [](Cancellation) { return "cancellation"; });
    module.def("overloaded", [](const py::str&) { return "text"; });
    module.def("kept", [](const py::object& source) { return source.cast<Cancellation>().cancelled(); });
}
