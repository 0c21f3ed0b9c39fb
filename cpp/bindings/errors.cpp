#include "errors.hpp"

#include <exception>

#include "conductor_grpc/error.hpp"

namespace py = pybind11;

namespace conductor_grpc::python {
namespace {

// Imported when needed: keeping the classes would be state of the process, which interpreters may not share.
py::object make_error(const char* name, const std::string& message, const std::string& path) {
    const py::object type = py::module_::import("conductor_grpc.errors").attr(name);
    return type(path.empty() ? message : path + ": " + message, path);
}

void set_error(const char* name, const PayloadError& error) {
    try {
        const py::object made = make_error(name, error.what(), error.path());
        PyErr_SetObject(py::type::handle_of(made).ptr(), made.ptr());
    } catch (py::error_already_set& failure) {
        failure.restore();
    }
}

} // namespace

void register_errors() {
    py::register_local_exception_translator([](std::exception_ptr pointer) { // NOLINT(performance-unnecessary-value-param)
        try {
            if (pointer) {
                std::rethrow_exception(pointer);
            }
        } catch (const DecodeError& error) {
            set_error("PayloadDecodeError", error);
        } catch (const EncodeError& error) {
            set_error("PayloadEncodeError", error);
        }
    });
}

void rethrow_at(const py::error_already_set& error, const Path* where) {
    const py::object made = make_error("PayloadEncodeError", py::str(error.value()), render(where));
    PyException_SetCause(made.ptr(), PyException_GetCause(error.value().ptr()));
    PyErr_SetObject(py::type::handle_of(made).ptr(), made.ptr());
    throw py::error_already_set();
}

std::string describe(py::handle value) {
    constexpr std::size_t longest = 80;
    const auto text = py::reinterpret_steal<py::object>(PyObject_ASCII(value.ptr()));
    if (!text) {
        PyErr_Clear();
        return type_name(value);
    }
    auto description = text.cast<std::string>();
    if (description.size() > longest) {
        description.resize(longest);
        description += "...";
    }
    return description;
}

std::string type_name(py::handle value) {
    const auto name = py::reinterpret_steal<py::object>(
        PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())), "__qualname__"));
    if (!name) {
        PyErr_Clear();
        return "unknown";
    }
    return name.cast<std::string>();
}

} // namespace conductor_grpc::python
