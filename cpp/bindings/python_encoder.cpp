#include "python_encoder.hpp"

#include <cmath>
#include <string>

#include "conductor_grpc/error.hpp"
#include "conductor_grpc/value.hpp"
#include "conductor_grpc/value_writer.hpp"
#include "errors.hpp"
#include "python_builder.hpp"

#if PY_VERSION_HEX >= 0x030D0000
#include <pybind11/critical_section.h>
#endif

namespace py = pybind11;

namespace conductor_grpc::python {
namespace {

/// Runs a function of conductor_grpc.payload.plain, which refuses with a PayloadEncodeError that knows no path.
py::object convert(const char* function, py::handle value, const Path* where) {
    const py::object converter = py::module_::import("conductor_grpc.payload.plain").attr(function);
    try {
        return converter(value);
    } catch (const py::error_already_set& error) {
        if (!error.matches(py::module_::import("conductor_grpc.errors").attr("PayloadEncodeError"))) {
            throw;
        }
        rethrow_at(error, where);
    }
}

/// The digits, also for subclasses that print differently.
std::string digits(PyObject* integer, const Path* where) {
    const auto text = py::reinterpret_steal<py::object>(PyLong_Type.tp_repr(integer));
    if (!text) { // Python refuses to print thousands of digits
        PyErr_Clear();
        fail_encode("the integer has too many digits to be written", where);
    }
    return text.cast<std::string>();
}

void check_level(int message, const Path* where) {
    if (message > max_written_messages) {
        fail_encode("the value is nested too deeply, or contains itself: the server reads about 32 objects or 48 lists "
                    "within each other",
                    where);
    }
}

} // namespace

BigIntegers parse_big_integers(std::string_view name) {
    if (name == "error") {
        return BigIntegers::error;
    }
    if (name == "string") {
        return BigIntegers::text;
    }
    throw py::value_error("big_integers is '" + std::string(name) + "', expected 'error' or 'string'");
}

std::string_view utf8_of(py::handle text, const Path* where) {
    Py_ssize_t size = 0;
    const char* const data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
    if (data == nullptr) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError) == 0) {
            throw py::error_already_set();
        }
        PyErr_Clear();
        fail_encode("the text " + describe(text) + " has a lone surrogate, which UTF-8 cannot carry: remove or escape it",
                    where);
    }
    return {data, static_cast<std::size_t>(size)};
}

py::bytes finish(const WireWriter& writer) {
    py::object made = owned(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(writer.size())));
    writer.copy_to(PyBytes_AS_STRING(made.ptr()));
    return py::reinterpret_steal<py::bytes>(made.release());
}

void PythonEncoder::map(std::uint32_t field, py::handle mapping) {
    if (PyDict_Check(mapping.ptr()) != 0) {
        entries(field, mapping.ptr(), first_written_message, nullptr);
        return;
    }
    const py::object converted = convert("to_plain", mapping, nullptr);
    if (PyDict_Check(converted.ptr()) == 0) {
        fail_encode("expected a mapping with string keys, got " + describe(mapping) + " of type " + type_name(mapping),
                    nullptr);
    }
    entries(field, converted.ptr(), first_written_message, nullptr);
}

void PythonEncoder::value(std::uint32_t field, PyObject* value, int message, const Path* where) {
    if (plain_value(field, value, message, where)) {
        return;
    }
    const py::object converted = convert("to_plain", value, where);
    if (!plain_value(field, converted.ptr(), message, where)) {
        fail_encode("a value of type " + type_name(value) + " converts to " + type_name(converted) +
                        ", which is not a JSON value",
                    where);
    }
}

bool PythonEncoder::plain_value(std::uint32_t field, PyObject* value, int message, const Path* where) {
    if (PyUnicode_Check(value) != 0) {
        write_text(writer_, field, utf8_of(value, where));
    } else if (value == Py_None) {
        write_null(writer_, field);
    } else if (PyBool_Check(value) != 0) { // before integers: bool is one
        write_boolean(writer_, field, value == Py_True);
    } else if (PyLong_Check(value) != 0) {
        integer(field, value, where);
    } else if (PyFloat_Check(value) != 0) {
        number(field, PyFloat_AS_DOUBLE(value), where);
    } else if (PyDict_Check(value) != 0) {
        object(field, value, message, where);
    } else if (PyList_Check(value) != 0) {
        list(field, value, message, where);
    } else if (PyTuple_Check(value) != 0) {
        tuple(field, value, message, where);
    } else {
        return false;
    }
    return true;
}

void PythonEncoder::integer(std::uint32_t field, PyObject* value, const Path* where) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0 && number >= -max_exact_integer && number <= max_exact_integer) {
        write_number(writer_, field, static_cast<double>(number));
        return;
    }
    const std::string text = digits(value, where);
    if (big_integers_ == BigIntegers::error) {
        fail_encode("the integer " + text +
                        " is beyond 2**53, where the protocol's numbers lose digits: send it as text, or set "
                        "big_integers=\"string\"",
                    where);
    }
    write_text(writer_, field, text);
}

void PythonEncoder::number(std::uint32_t field, double value, const Path* where) {
    if (!std::isfinite(value)) {
        fail_encode("the number " + describe(py::float_(value)) + " is not finite, which JSON cannot carry: send None or "
                                                                  "a text instead",
                    where);
    }
    write_number(writer_, field, value);
}

void PythonEncoder::object(std::uint32_t field, PyObject* dict, int message, const Path* where) {
    check_level(message + 1, where);
    const MembersMark mark = open_members(writer_, field, value_field::object);
    entries(members_field, dict, message + 3, where);
    close_members(writer_, mark);
}

void PythonEncoder::entries(std::uint32_t field, PyObject* dict, int message, const Path* where) {
#ifdef Py_GIL_DISABLED
    const py::scoped_critical_section guard{py::handle(dict)};
#endif
    const Py_ssize_t size = PyDict_GET_SIZE(dict);
    Py_ssize_t position = 0;
    PyObject* key = nullptr;
    PyObject* value = nullptr;
    while (PyDict_Next(dict, &position, &key, &value) != 0) {
        // Converting a value runs code that could take both out of the dict.
        const auto held_key = py::reinterpret_borrow<py::object>(key);
        const auto held_value = py::reinterpret_borrow<py::object>(value);
        entry(field, key, value, message, where);
        if (PyDict_GET_SIZE(dict) != size) {
            fail_encode("the mapping changed its size while it was being encoded", where);
        }
    }
}

void PythonEncoder::entry(std::uint32_t field, PyObject* key, PyObject* value, int message, const Path* where) {
    py::object converted;
    if (PyUnicode_Check(key) == 0) {
        converted = convert("to_key", key, where);
        key = converted.ptr();
    }
    const std::string_view name = utf8_of(key, where);
    const Path here{where, name};
    check_level(message, &here);
    const WireWriter::Mark mark = open_entry(writer_, field, name);
    this->value(entry_value_field, value, message, &here);
    writer_.close(mark);
}

void PythonEncoder::list(std::uint32_t field, PyObject* list, int message, const Path* where) {
    check_level(message + 1, where);
    const MembersMark mark = open_members(writer_, field, value_field::list);
#ifdef Py_GIL_DISABLED
    const py::scoped_critical_section guard{py::handle(list)};
#endif
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(list); ++index) { // the size may change under a conversion
        const auto item = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(list, index));
        const Path here{where, {}, static_cast<std::size_t>(index)};
        check_level(message + 2, &here);
        value(members_field, item.ptr(), message + 2, &here);
    }
    close_members(writer_, mark);
}

void PythonEncoder::tuple(std::uint32_t field, PyObject* tuple, int message, const Path* where) {
    check_level(message + 1, where);
    const MembersMark mark = open_members(writer_, field, value_field::list);
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(tuple); ++index) {
        const Path here{where, {}, static_cast<std::size_t>(index)};
        check_level(message + 2, &here);
        value(members_field, PyTuple_GET_ITEM(tuple, index), message + 2, &here);
    }
    close_members(writer_, mark);
}

} // namespace conductor_grpc::python
