#pragma once

#include <pybind11/pybind11.h>

#include "conductor_grpc/layout.hpp"
#include "key_cache.hpp"
#include "python_encoder.hpp"

namespace conductor_grpc::python {

/// The Python class Layout: a message as a tuple of plain values.
class PythonLayout {
  public:
    explicit PythonLayout(const pybind11::iterable& fields);

    [[nodiscard]] const pybind11::tuple& fields() const noexcept { return fields_; }
    pybind11::tuple decode(pybind11::handle data);
    [[nodiscard]] pybind11::bytes encode(pybind11::handle values, BigIntegers big_integers) const;

  private:
    pybind11::tuple fields_; // as given
    FieldTable table_;
    KeyCache keys_;
};

} // namespace conductor_grpc::python
