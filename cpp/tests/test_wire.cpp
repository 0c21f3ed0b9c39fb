#include <cmath>
#include <cstdint>
#include <string>

#include "check.hpp"
#include "conductor_grpc/utf8.hpp"
#include "conductor_grpc/wire_reader.hpp"
#include "conductor_grpc/wire_writer.hpp"
#include "json.hpp"

namespace {

using namespace conductor_grpc; // NOLINT(google-build-using-namespace): the functions under test
using namespace std::string_literals;

std::uint64_t read_varint(const std::string& bytes) {
    WireReader reader(bytes, nullptr);
    const std::uint64_t value = reader.varint();
    CHECK(reader.done());
    return value;
}

void numbers_go_there_and_back() {
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{127}, std::uint64_t{128},
                                      std::uint64_t{300}, std::uint64_t{1} << 35U, UINT64_MAX}) {
        WireWriter writer;
        writer.varint(value);
        CHECK_EQUAL(writer.size(), varint_length(value));
        CHECK_EQUAL(read_varint(json::finish(writer)), value);
    }
    for (const double value : {0.0, -1.5, 1e300, std::nextafter(1.0, 2.0)}) {
        WireWriter writer;
        writer.fixed64(value);
        const std::string bytes = json::finish(writer);
        CHECK_EQUAL(WireReader(bytes, nullptr).fixed64(), value);
    }
}

void numbers_on_the_wire_are_little_endian() {
    WireWriter writer;
    writer.varint(300);
    writer.fixed64(1.0);
    CHECK_EQUAL(json::finish(writer), "\xac\x02\0\0\0\0\0\0\xf0\x3f"s);
}

void long_varints() {
    CHECK_EQUAL(read_varint("\x81\x80\x00"s), std::uint64_t{1});
    CHECK_EQUAL(read_varint(std::string(9, '\xff') + "\x7f"), UINT64_MAX);
    CHECK_THROWS(DecodeError, "longer than 10 bytes", read_varint(std::string(10, '\x80') + "\x01"));
    CHECK_THROWS(DecodeError, "ends inside a number", read_varint("\x80"));
    CHECK_THROWS(DecodeError, "ends inside a number", read_varint(""));
}

void tags() {
    const std::string bytes = "\xfa\xff\xff\xff\x0f";
    const Tag tag = WireReader(bytes, nullptr).tag();
    CHECK_EQUAL(tag.field, max_field_number);
    CHECK(tag.type == WireType::length_delimited);
    CHECK_THROWS(DecodeError, "field number 0", WireReader("\x02", nullptr).tag());
    CHECK_THROWS(DecodeError, "longer than 32 bits", WireReader("\x8a\x80\x80\x80\x10", nullptr).tag());
    CHECK_THROWS(DecodeError, "longer than 32 bits", WireReader("\x8a\x80\x80\x80\x80\x00"s, nullptr).tag());
}

void skipping() {
    const std::string bytes = "\x08\x80\x01\x11"s + "12345678" + "\x1a\x02" + "ab" + "%1234";
    WireReader reader(bytes, nullptr);
    for (std::uint32_t field = 1; field <= 4; ++field) {
        const Tag tag = reader.tag();
        CHECK_EQUAL(tag.field, field);
        reader.skip(tag);
    }
    CHECK(reader.done());
    for (const char* group : {"\x0b", "\x0c", "\x0e", "\x0f"}) {
        WireReader other(group, nullptr);
        const Tag tag = other.tag();
        CHECK_THROWS(DecodeError, "a group or undefined", other.skip(tag));
    }
}

void what_is_cut_off_is_refused() {
    const Path where{nullptr, "key"};
    const std::string bytes = "\x05"s + "abcd";
    CHECK_THROWS_AT(DecodeError, "5 bytes should follow, 4 are there", "key", WireReader(bytes, &where).bytes());
    CHECK_THROWS(DecodeError, "cut off", WireReader(bytes, nullptr).fixed64());
    const std::string huge = std::string(9, '\xff') + "\x01";
    CHECK_THROWS(DecodeError, "18446744073709551615 bytes", WireReader(huge, nullptr).bytes());
}

void utf8() {
    for (const char* valid : {"", "a", "é", "€", "😀", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf"}) {
        CHECK(is_utf8(valid));
    }
    for (const char* invalid :
         {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf",
          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xc3(", "\xf0\x9f\x98"}) {
        CHECK(!is_utf8(invalid));
    }
    for (std::size_t length = 0; length < 20; ++length) {
        for (std::size_t position = 0; position < length; ++position) {
            std::string text(length, 'a');
            CHECK(is_ascii(text));
            text[position] = '\x80';
            CHECK(!is_ascii(text));
        }
    }
}

void nested_lengths() {
    for (const std::size_t size : {0, 1, 125, 126, 127, 128, 129, 16381, 16384, 100000}) {
        WireWriter writer;
        const WireWriter::Mark outer = writer.open(1);
        const WireWriter::Mark first = writer.open(2);
        writer.raw(std::string(size, 'x'));
        writer.close(first);
        const WireWriter::Mark empty = writer.open(3);
        writer.close(empty);
        writer.close(outer);
        const std::string bytes = json::finish(writer);
        WireReader reader(bytes, nullptr);
        reader.tag();
        WireReader inner(reader.bytes(), nullptr);
        CHECK(reader.done());
        CHECK_EQUAL(inner.tag().field, 2U);
        CHECK_EQUAL(inner.bytes().size(), size);
        CHECK_EQUAL(inner.tag().field, 3U);
        CHECK_EQUAL(inner.bytes().size(), 0U);
        CHECK(inner.done());
    }
}

} // namespace

int main() {
    return check::run({{"numbers go there and back", numbers_go_there_and_back},
                       {"numbers on the wire are little endian", numbers_on_the_wire_are_little_endian},
                       {"long varints", long_varints},
                       {"tags", tags},
                       {"skipping", skipping},
                       {"what is cut off is refused", what_is_cut_off_is_refused},
                       {"UTF-8", utf8},
                       {"nested lengths", nested_lengths}});
}
