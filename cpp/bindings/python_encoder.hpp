#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string_view>

#include "conductor_grpc/path.hpp"
#include "conductor_grpc/wire_writer.hpp"

namespace conductor_grpc::python {

/// What to do with an integer that a double cannot hold.
enum class BigIntegers : std::uint8_t { error, text };

/// "error" or "string"; ValueError for anything else.
BigIntegers parse_big_integers(std::string_view name);

/// The UTF-8 of a str, which lives as long as the str. EncodeError for lone surrogates.
std::string_view utf8_of(pybind11::handle text, const Path* where);

/// Writes Python values as google.protobuf.Value. Throws EncodeError, or the Python error of a conversion.
class PythonEncoder {
  public:
    PythonEncoder(WireWriter& writer, BigIntegers big_integers) noexcept
        : writer_(writer), big_integers_(big_integers) {}

    /// Field `field`, a map<string, Value>: one entry per key of `mapping`, which is a dict or converts to one.
    void map(std::uint32_t field, pybind11::handle mapping);

  private:
    void value(std::uint32_t field, PyObject* value, int message, const Path* where);
    bool plain_value(std::uint32_t field, PyObject* value, int message, const Path* where);
    void integer(std::uint32_t field, PyObject* value, const Path* where);
    void number(std::uint32_t field, double value, const Path* where);
    void object(std::uint32_t field, PyObject* dict, int message, const Path* where);
    void entries(std::uint32_t field, PyObject* dict, int message, const Path* where);
    void entry(std::uint32_t field, PyObject* key, PyObject* value, int message, const Path* where);
    void list(std::uint32_t field, PyObject* list, int message, const Path* where);
    void tuple(std::uint32_t field, PyObject* tuple, int message, const Path* where);

    WireWriter& writer_;
    BigIntegers big_integers_;
};

/// The finished message as bytes.
pybind11::bytes finish(const WireWriter& writer);

} // namespace conductor_grpc::python
