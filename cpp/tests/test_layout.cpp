#include <stdexcept>
#include <string>

#include "check.hpp"
#include "conductor_grpc/layout.hpp"
#include "json.hpp"

namespace {

using namespace conductor_grpc; // NOLINT(google-build-using-namespace): the functions under test

/// Writes down what it is handed.
struct Recorder {
    std::string seen;

    void add(int position, const std::string& what) { seen += std::to_string(position) + '=' + what + ' '; }
    void integer(int position, std::int64_t value) { add(position, std::to_string(value)); }
    void boolean(int position, bool value) { add(position, value ? "true" : "false"); }
    void text(int position, const Text& value) { add(position, std::string(value.bytes)); }
    void bytes(int position, std::string_view value) { add(position, std::string(value)); }
    void value_entry(int position, std::string_view entry) { add(position, std::to_string(entry.size())); }
    void message(int position, std::string_view value) { add(position, std::string(value)); }
    void append_text(int position, const Text& value) { add(position, std::string(value.bytes)); }
    void text_entry(int position, const Text& key, const Text& value) {
        add(position, std::string(key.bytes) + ':' + std::string(value.bytes));
    }
};

std::string scanned(const FieldTable& table, const std::string& message) {
    Recorder recorder;
    scan(table, message, recorder);
    return recorder.seen;
}

std::string sample() {
    WireWriter writer;
    writer.tag(1, WireType::varint);
    writer.varint(static_cast<std::uint64_t>(-7));
    writer.bytes(9, "skipped");
    writer.tag(2, WireType::varint);
    writer.varint(1);
    writer.bytes(3, "text");
    writer.bytes(1000, "far");
    const WireWriter::Mark mark = open_entry(writer, 4, "k");
    writer.bytes(entry_value_field, "v");
    writer.close(mark);
    writer.bytes(3, "again");
    return json::finish(writer);
}

void fields_are_handed_over_in_the_order_of_the_message() {
    const FieldTable table({{1000, FieldKind::bytes},
                            {4, FieldKind::text_map},
                            {3, FieldKind::text},
                            {2, FieldKind::boolean},
                            {1, FieldKind::integer}});
    CHECK_EQUAL(scanned(table, sample()), "4=-7 3=true 2=text 0=far 1=k:v 2=again ");
    CHECK_EQUAL(scanned(FieldTable({{4, FieldKind::value_map}}), sample()), "0=6 ");
    CHECK_EQUAL(scanned(FieldTable({}), sample()), "");
}

void a_wrong_wire_type_is_refused() {
    CHECK_THROWS(DecodeError, "field 1 has the wire type 0, expected 2",
                 scanned(FieldTable({{1, FieldKind::text}}), sample()));
    CHECK_THROWS(DecodeError, "field 3 has the wire type 2, expected 0",
                 scanned(FieldTable({{3, FieldKind::integer}}), sample()));
    CHECK_THROWS_AT(DecodeError, "UTF-8", "k", read_text_entry("\x0a\x01k\x12\x01\xff"));
}

void bad_tables_are_refused() {
    CHECK_THROWS(std::invalid_argument, "given twice", FieldTable({{1, FieldKind::text}, {1, FieldKind::text}}));
    CHECK_THROWS(std::invalid_argument, "number 0 is", FieldTable({{0, FieldKind::text}}));
    CHECK_THROWS(std::invalid_argument, "number 536870912 is", FieldTable({{1U << 29U, FieldKind::text}}));
}

void kinds_have_names() {
    CHECK(parse_field_kind("string") == FieldKind::text);
    CHECK(parse_field_kind("messages") == FieldKind::messages);
    CHECK(!parse_field_kind("text"));
}

} // namespace

int main() {
    return check::run({{"fields are handed over in the order of the message",
                        fields_are_handed_over_in_the_order_of_the_message},
                       {"a wrong wire type is refused", a_wrong_wire_type_is_refused},
                       {"bad tables are refused", bad_tables_are_refused},
                       {"kinds have names", kinds_have_names}});
}
