#include "cancellation_flag.hpp"

#include <atomic>

#include "conductor_grpc/cancellation.hpp"

namespace py = pybind11;

namespace conductor_grpc::python {
namespace {

class CancellationFlag {
  public:
    void set() noexcept { set_.store(true, std::memory_order_release); }
    [[nodiscard]] bool is_set() const noexcept { return set_.load(std::memory_order_acquire); }

    /// A capsule over the flag of `self`, which it keeps alive.
    static py::object capsule(const py::object& self) {
        std::atomic<bool>& flag = self.cast<CancellationFlag&>().set_;
        auto made = py::reinterpret_steal<py::object>(PyCapsule_New(&flag, cancellation_capsule, &let_go));
        if (!made || PyCapsule_SetContext(made.ptr(), self.ptr()) != 0) {
            throw py::error_already_set();
        }
        self.inc_ref();
        return made;
    }

  private:
    static void let_go(PyObject* capsule) { Py_XDECREF(static_cast<PyObject*>(PyCapsule_GetContext(capsule))); }

    std::atomic<bool> set_{false};
};

} // namespace

void register_cancellation_flag(py::module_& module) {
    py::class_<CancellationFlag>(module, "CancellationFlag", py::is_final())
        .def(py::init<>())
        .def("set", &CancellationFlag::set)
        .def("is_set", &CancellationFlag::is_set)
        .def_property_readonly("capsule", &CancellationFlag::capsule);
}

} // namespace conductor_grpc::python
