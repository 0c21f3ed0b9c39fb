#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "conductor_grpc/utf8.hpp"
#include "conductor_grpc/value.hpp"
#include "key_cache.hpp"

namespace conductor_grpc::python {

/// A new reference, or the Python error that prevented it.
inline pybind11::object owned(PyObject* object) {
    if (object == nullptr) {
        throw pybind11::error_already_set();
    }
    return pybind11::reinterpret_steal<pybind11::object>(object);
}

inline pybind11::object make_text(const Text& text) {
    const auto size = static_cast<Py_ssize_t>(text.bytes.size());
    if (text.ascii && size > 1) { // texts of one character are shared by the interpreter, through the decoder
        pybind11::object made = owned(PyUnicode_New(size, 127));
        std::memcpy(PyUnicode_DATA(made.ptr()), text.bytes.data(), text.bytes.size());
        return made;
    }
    return owned(PyUnicode_DecodeUTF8(text.bytes.data(), size, nullptr)); // NOLINT(bugprone-suspicious-stringview-data-usage)
}

/// Makes dict, list, str, int, float, bool and None out of what a ValueReader reads.
class PythonBuilder {
  public:
    using Node = pybind11::object;

    /// `keys` may be null: then every key is a new string.
    explicit PythonBuilder(KeyCache* keys = nullptr) noexcept : keys_(keys) {}

    static Node null() { return pybind11::none(); }
    static Node boolean(bool value) { return pybind11::bool_(value); }
    static Node text(const Text& text) { return make_text(text); }

    static Node number(double value) {
        if (is_exact_integer(value)) {
            return owned(PyLong_FromLongLong(static_cast<std::int64_t>(value)));
        }
        return owned(PyFloat_FromDouble(value));
    }

    static void make_object(Node& node) {
        if (!node || PyDict_CheckExact(node.ptr()) == 0) {
            node = owned(PyDict_New());
        }
    }

    static void make_list(Node& node) {
        if (!node || PyList_CheckExact(node.ptr()) == 0) {
            node = owned(PyList_New(0));
        }
    }

    void insert(const Node& object, const Text& key, const Node& value) {
        const Node name = keys_ == nullptr ? make_text(key) : keys_->get(key);
        if (PyDict_SetItem(object.ptr(), name.ptr(), value.ptr()) != 0) {
            throw pybind11::error_already_set();
        }
    }

    static std::size_t size(const Node& list) { return static_cast<std::size_t>(PyList_GET_SIZE(list.ptr())); }

    static void append(const Node& list, const Node& value) {
        if (PyList_Append(list.ptr(), value.ptr()) != 0) {
            throw pybind11::error_already_set();
        }
    }

  private:
    KeyCache* keys_;
};

} // namespace conductor_grpc::python
