#pragma once

#include <pybind11/pybind11.h>

namespace conductor_grpc::python {

/// Adds get_sum of simple_cpp_lib to the module.
void register_sum(pybind11::module_& module);

} // namespace conductor_grpc::python
