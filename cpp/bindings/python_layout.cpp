#include "python_layout.hpp"

#include <string>
#include <utility>
#include <vector>

#include "conductor_grpc/error.hpp"
#include "conductor_grpc/value_reader.hpp"
#include "conductor_grpc/value_writer.hpp"
#include "errors.hpp"
#include "input_bytes.hpp"
#include "python_builder.hpp"

namespace py = pybind11;

namespace conductor_grpc::python {
namespace {

FieldTable make_table(const py::tuple& fields) {
    std::vector<FieldTable::Field> table;
    for (const py::handle field : fields) {
        const auto [number, name] = field.cast<std::pair<long long, std::string>>();
        const auto kind = parse_field_kind(name);
        if (!kind) {
            throw py::value_error("field " + std::to_string(number) + " has the kind '" + name +
                                  "', expected string, int, bool, bytes, value_map, string_map, messages or strings");
        }
        if (number < 1 || number > max_field_number) {
            throw py::value_error("the field number " + std::to_string(number) + " is not within 1 and 536870911");
        }
        table.push_back({static_cast<std::uint32_t>(number), *kind});
    }
    return FieldTable(std::move(table));
}

/// Collects the fields of one message in a tuple.
class TupleSink {
  public:
    TupleSink(const FieldTable& table, KeyCache& keys)
        : table_(table), builder_(&keys), reader_(builder_), tuple_(table.fields().size()) {}

    void integer(int position, std::int64_t value) { set(position, owned(PyLong_FromLongLong(value))); }
    void boolean(int position, bool value) { set(position, py::bool_(value)); }
    void text(int position, const Text& value) { set(position, make_text(value)); }
    void bytes(int position, std::string_view value) { set(position, make_bytes(value)); }

    void value_entry(int position, std::string_view entry) {
        py::object map = make(position, PyDict_New);
        reader_.entry(entry, map, 1, nullptr);
    }

    void text_entry(int position, const Text& key, const Text& value) {
        builder_.insert(make(position, PyDict_New), key, make_text(value));
    }

    void message(int position, std::string_view value) {
        PythonBuilder::append(make(position, [] { return PyList_New(0); }), make_bytes(value));
    }

    void append_text(int position, const Text& value) {
        PythonBuilder::append(make(position, [] { return PyList_New(0); }), make_text(value));
    }

    py::tuple finish() {
        for (std::size_t position = 0; position < table_.fields().size(); ++position) {
            if (PyTuple_GET_ITEM(tuple_.ptr(), static_cast<Py_ssize_t>(position)) == nullptr) {
                set(static_cast<int>(position), absent(table_.fields()[position].kind));
            }
        }
        return std::move(tuple_);
    }

  private:
    static py::object make_bytes(std::string_view value) {
        return owned(PyBytes_FromStringAndSize(value.data(), static_cast<Py_ssize_t>(value.size())));
    }

    static py::object absent(FieldKind kind) {
        switch (kind) {
        case FieldKind::text:
            return make_text({});
        case FieldKind::integer:
            return owned(PyLong_FromLong(0));
        case FieldKind::boolean:
            return py::bool_(false);
        case FieldKind::bytes:
            return make_bytes({});
        case FieldKind::value_map:
        case FieldKind::text_map:
            return owned(PyDict_New());
        case FieldKind::messages:
        case FieldKind::texts:
            break;
        }
        return owned(PyList_New(0));
    }

    void set(int position, py::object value) {
        PyObject* const before = PyTuple_GET_ITEM(tuple_.ptr(), position);
        PyTuple_SET_ITEM(tuple_.ptr(), position, value.release().ptr());
        Py_XDECREF(before);
    }

    template <class Maker> py::object make(int position, Maker maker) {
        PyObject* const present = PyTuple_GET_ITEM(tuple_.ptr(), position);
        if (present != nullptr) {
            return py::reinterpret_borrow<py::object>(present);
        }
        py::object made = owned(maker());
        set(position, made);
        return made;
    }

    const FieldTable& table_;
    PythonBuilder builder_;
    ValueReader<PythonBuilder> reader_;
    py::tuple tuple_; // nobody else has it yet, so its items may still be set
};

[[noreturn]] void fail_kind(std::uint32_t number, const char* expected, py::handle value) {
    fail_encode("field " + std::to_string(number) + " expects " + expected + ", got " + describe(value) + " of type " +
                    type_name(value),
                nullptr);
}

/// Writes the fields of one message; None and the defaults of proto3 are left out.
class FieldWriter {
  public:
    FieldWriter(WireWriter& writer, BigIntegers big_integers) noexcept
        : writer_(writer), encoder_(writer, big_integers) {}

    void field(const FieldTable::Field& field, py::handle value) {
        switch (field.kind) {
        case FieldKind::text:
            text(field.number, value);
            return;
        case FieldKind::integer:
            integer(field.number, value);
            return;
        case FieldKind::boolean:
            boolean(field.number, value);
            return;
        case FieldKind::bytes:
            bytes(field.number, value);
            return;
        case FieldKind::value_map:
            encoder_.map(field.number, value);
            return;
        case FieldKind::text_map:
            text_map(field.number, value);
            return;
        case FieldKind::messages:
        case FieldKind::texts:
            sequence(field, value);
            return;
        }
    }

  private:
    void text(std::uint32_t number, py::handle value) {
        if (PyUnicode_Check(value.ptr()) == 0) {
            fail_kind(number, "str", value);
        }
        const std::string_view utf8 = utf8_of(value, nullptr);
        if (!utf8.empty()) {
            writer_.bytes(number, utf8);
        }
    }

    void integer(std::uint32_t number, py::handle value) {
        if (PyLong_Check(value.ptr()) == 0 || PyBool_Check(value.ptr()) != 0) {
            fail_kind(number, "int", value);
        }
        int overflow = 0;
        const long long integer = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
        if (overflow != 0) {
            fail_kind(number, "an int of 64 bits", value);
        }
        if (integer != 0) {
            writer_.tag(number, WireType::varint);
            writer_.varint(static_cast<std::uint64_t>(integer));
        }
    }

    void boolean(std::uint32_t number, py::handle value) {
        if (PyBool_Check(value.ptr()) == 0) {
            fail_kind(number, "bool", value);
        }
        if (value.ptr() == Py_True) {
            writer_.tag(number, WireType::varint);
            writer_.varint(1);
        }
    }

    void bytes(std::uint32_t number, py::handle value) {
        require_buffer(number, value);
        const InputBytes input(value);
        if (!input.view().empty()) {
            writer_.bytes(number, input.view());
        }
    }

    void text_map(std::uint32_t number, py::handle value) {
        if (PyDict_Check(value.ptr()) == 0) {
            fail_kind(number, "dict[str, str]", value);
        }
        for (const auto& [key, item] : py::reinterpret_borrow<py::dict>(value)) {
            if (PyUnicode_Check(key.ptr()) == 0 || PyUnicode_Check(item.ptr()) == 0) {
                fail_kind(number, "dict[str, str]", value);
            }
            const std::string_view name = utf8_of(key, nullptr);
            const Path where{nullptr, name};
            const WireWriter::Mark mark = open_entry(writer_, number, name);
            writer_.bytes(entry_value_field, utf8_of(item, &where));
            writer_.close(mark);
        }
    }

    void sequence(const FieldTable::Field& field, py::handle value) {
        const bool texts = field.kind == FieldKind::texts;
        const char* const expected = texts ? "a list or tuple of str" : "a list or tuple of bytes";
        if (PyList_Check(value.ptr()) == 0 && PyTuple_Check(value.ptr()) == 0) {
            fail_kind(field.number, expected, value);
        }
        const auto items = owned(PySequence_Tuple(value.ptr()));
        for (const py::handle item : py::reinterpret_borrow<py::tuple>(items)) {
            if (texts) {
                if (PyUnicode_Check(item.ptr()) == 0) {
                    fail_kind(field.number, expected, value);
                }
                writer_.bytes(field.number, utf8_of(item, nullptr));
            } else {
                require_buffer(field.number, item);
                writer_.bytes(field.number, InputBytes(item).view());
            }
        }
    }

    static void require_buffer(std::uint32_t number, py::handle value) {
        if (PyObject_CheckBuffer(value.ptr()) == 0) {
            fail_kind(number, "bytes", value);
        }
    }

    WireWriter& writer_;
    PythonEncoder encoder_;
};

} // namespace

PythonLayout::PythonLayout(const py::iterable& fields) : fields_(fields), table_(make_table(fields_)) {}

py::tuple PythonLayout::decode(py::handle data) {
    const InputBytes input(data);
    TupleSink sink(table_, keys_);
    scan(table_, input.view(), sink);
    return sink.finish();
}

py::bytes PythonLayout::encode(py::handle values, BigIntegers big_integers) const {
    if (PyList_Check(values.ptr()) == 0 && PyTuple_Check(values.ptr()) == 0) {
        throw py::type_error("expected a list or tuple with one value per field, got " + type_name(values));
    }
    // A tuple of its own: converting a value runs code that could change a list.
    const auto held = py::reinterpret_steal<py::tuple>(owned(PySequence_Tuple(values.ptr())).release());
    const auto& fields = table_.fields();
    if (held.size() != fields.size()) {
        throw py::value_error("the layout has " + std::to_string(fields.size()) + " fields, got " +
                              std::to_string(held.size()) + " values");
    }
    WireWriter writer;
    FieldWriter out(writer, big_integers);
    for (std::size_t position = 0; position < fields.size(); ++position) {
        PyObject* const value = PyTuple_GET_ITEM(held.ptr(), static_cast<Py_ssize_t>(position));
        if (value != Py_None) {
            out.field(fields[position], value);
        }
    }
    return finish(writer);
}

} // namespace conductor_grpc::python
