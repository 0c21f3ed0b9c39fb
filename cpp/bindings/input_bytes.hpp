#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>

#include "errors.hpp"

namespace conductor_grpc::python {

/// The memory of a bytes-like object for as long as this lives. Other objects: TypeError.
class InputBytes {
  public:
    explicit InputBytes(pybind11::handle object) {
        if (PyBytes_CheckExact(object.ptr())) { // the usual case, without the ceremony of the buffer protocol
            view_ = {PyBytes_AS_STRING(object.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(object.ptr()))};
            return;
        }
        if (PyObject_CheckBuffer(object.ptr()) == 0) {
            throw pybind11::type_error("expected bytes, a bytearray or a memoryview, got " + type_name(object) +
                                       ": pass the serialised message");
        }
        if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_SIMPLE) != 0) {
            throw pybind11::error_already_set();
        }
        held_ = true;
        view_ = {static_cast<const char*>(buffer_.buf), static_cast<std::size_t>(buffer_.len)};
    }

    ~InputBytes() {
        if (held_) {
            PyBuffer_Release(&buffer_);
        }
    }

    InputBytes(const InputBytes&) = delete;
    InputBytes& operator=(const InputBytes&) = delete;
    InputBytes(InputBytes&&) = delete;
    InputBytes& operator=(InputBytes&&) = delete;

    [[nodiscard]] std::string_view view() const noexcept { return view_; }

  private:
    Py_buffer buffer_{};
    bool held_ = false;
    std::string_view view_;
};

} // namespace conductor_grpc::python
