#include <pybind11/pybind11.h>

#include "simple_cpp_lib/simple_cpp_lib.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_core, m) {
    m.attr("__version__") = CONDUCTOR_GRPC_VERSION;
    m.def("get_sum", &simple_cpp_lib::get_sum, py::arg("a"), py::arg("b"));
}
