#include <pybind11/pybind11.h>

#include <string_view>

#include "cancellation_flag.hpp"
#include "conductor_grpc/value_reader.hpp"
#include "conductor_grpc/wire.hpp"
#include "conductor_grpc/wire_writer.hpp"
#include "errors.hpp"
#include "input_bytes.hpp"
#include "python_builder.hpp"
#include "python_encoder.hpp"
#include "python_layout.hpp"
#include "sum.hpp"

namespace py = pybind11;
using namespace conductor_grpc; // NOLINT(google-build-using-namespace): this file only names their parts to Python

namespace {

std::uint32_t checked_field_number(long long number) {
    if (number < 1 || number > max_field_number) {
        throw py::value_error("the field number " + std::to_string(number) + " is not within 1 and 536870911");
    }
    return static_cast<std::uint32_t>(number);
}

py::bytes encode_map(py::handle mapping, long long field_number, std::string_view big_integers) {
    WireWriter writer;
    python::PythonEncoder encoder(writer, python::parse_big_integers(big_integers));
    encoder.map(checked_field_number(field_number), mapping);
    return python::finish(writer);
}

py::object decode_map(py::handle data, long long field_number) {
    const std::uint32_t number = checked_field_number(field_number);
    const python::InputBytes input(data);
    python::PythonBuilder builder;
    py::object object;
    read_map(input.view(), number, builder, object);
    return object;
}

py::bytes encode_layout(const python::PythonLayout& layout, py::handle values, std::string_view big_integers) {
    return layout.encode(values, python::parse_big_integers(big_integers));
}

} // namespace

// No lock of the interpreter needed: the only state is that of each Layout, which looks after itself (KeyCache), and
// of each CancellationFlag, which is atomic.
PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
    module.attr("__version__") = CONDUCTOR_GRPC_VERSION;
    python::register_errors();
    python::register_sum(module);
    python::register_cancellation_flag(module);
    module.def("encode_map", &encode_map, py::arg("mapping"), py::arg("field_number"),
               py::arg("big_integers") = "error");
    module.def("decode_map", &decode_map, py::arg("data"), py::arg("field_number"));
    py::class_<python::PythonLayout>(module, "Layout", py::is_final())
        .def(py::init<const py::iterable&>(), py::arg("fields"))
        .def_property_readonly("fields", &python::PythonLayout::fields)
        .def("decode", &python::PythonLayout::decode, py::arg("data"))
        .def("encode", &encode_layout, py::arg("values"), py::arg("big_integers") = "error");
}
