#include "sum.hpp"

#include <cstdint>
#include <limits>
#include <string>

#include "errors.hpp"
#include "simple_cpp_lib/simple_cpp_lib.hpp"

namespace py = pybind11;

namespace conductor_grpc::python {
namespace {

std::int32_t as_int32(const char* name, py::handle value) {
    if (PyLong_Check(value.ptr()) == 0 || PyBool_Check(value.ptr()) != 0) {
        throw py::type_error(std::string(name) + " is " + describe(value) + " of type " + type_name(value) +
                             ", expected an int: convert it, e.g. with int()");
    }
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
    if (overflow != 0 || number < std::numeric_limits<std::int32_t>::min() ||
        number > std::numeric_limits<std::int32_t>::max()) {
        const std::string message = std::string(name) + " is " + describe(value) +
                                    ", which does not fit in 32 bits: expected -2147483648 to 2147483647";
        PyErr_SetString(PyExc_OverflowError, message.c_str());
        throw py::error_already_set();
    }
    return static_cast<std::int32_t>(number);
}

std::int32_t get_sum(py::handle left, py::handle right) {
    const std::int32_t a = as_int32("a", left);
    const std::int32_t b = as_int32("b", right);
    const py::gil_scoped_release unlocked;
    return simple_cpp_lib::get_sum(a, b); // its std::overflow_error becomes OverflowError
}

} // namespace

void register_sum(py::module_& module) {
    module.def("get_sum", &get_sum, py::arg("a"), py::arg("b"));
}

} // namespace conductor_grpc::python
