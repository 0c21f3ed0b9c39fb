#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "conductor_grpc/path.hpp"

namespace conductor_grpc::python {

/// Makes the core's DecodeError and EncodeError arrive as PayloadDecodeError and PayloadEncodeError.
void register_errors();

/// Throws PayloadEncodeError with the message of `error`, a PayloadEncodeError that knows no path yet, and the path.
/// The cause of `error` is kept.
[[noreturn]] void rethrow_at(const pybind11::error_already_set& error, const Path* where);

/// `str()` and `repr()` of objects for messages; never throw, and are cut to a readable length.
std::string describe(pybind11::handle value);
std::string type_name(pybind11::handle value);

} // namespace conductor_grpc::python
