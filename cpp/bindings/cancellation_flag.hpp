#pragma once

#include <pybind11/pybind11.h>

namespace conductor_grpc::python {

/// Adds the Python class CancellationFlag to the module.
void register_cancellation_flag(pybind11::module_& module);

} // namespace conductor_grpc::python
