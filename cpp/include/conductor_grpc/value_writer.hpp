#pragma once

#include <string_view>

#include "conductor_grpc/value.hpp"
#include "conductor_grpc/wire_writer.hpp"

/// One Value each, as field `field` of the message being written. An object is written by `open_members`, its entries
/// (`open_entry`, a value as entry_value_field, close) and `close_members`; a list by its values as members_field.
namespace conductor_grpc {

inline void write_null(WireWriter& writer, std::uint32_t field) {
    writer.tag(field, WireType::length_delimited);
    writer.varint(2);
    writer.tag(value_field::null, WireType::varint);
    writer.varint(0);
}

inline void write_boolean(WireWriter& writer, std::uint32_t field, bool value) {
    writer.tag(field, WireType::length_delimited);
    writer.varint(2);
    writer.tag(value_field::boolean, WireType::varint);
    writer.varint(value ? 1 : 0);
}

inline void write_number(WireWriter& writer, std::uint32_t field, double value) {
    writer.tag(field, WireType::length_delimited);
    writer.varint(1 + sizeof value);
    writer.tag(value_field::number, WireType::fixed64);
    writer.fixed64(value);
}

inline void write_text(WireWriter& writer, std::uint32_t field, std::string_view value) {
    writer.tag(field, WireType::length_delimited);
    writer.varint(1 + varint_length(value.size()) + value.size());
    writer.bytes(value_field::text, value);
}

struct MembersMark {
    WireWriter::Mark value = 0;
    WireWriter::Mark members = 0;
};

/// `kind` is value_field::object or value_field::list.
inline MembersMark open_members(WireWriter& writer, std::uint32_t field, std::uint32_t kind) {
    const WireWriter::Mark value = writer.open(field);
    return {value, writer.open(kind)};
}

inline void close_members(WireWriter& writer, const MembersMark& mark) noexcept {
    writer.close(mark.members);
    writer.close(mark.value);
}

/// An entry of a map<string, ...>; its value comes next, as entry_value_field.
inline WireWriter::Mark open_entry(WireWriter& writer, std::uint32_t field, std::string_view key) {
    const WireWriter::Mark mark = writer.open(field);
    writer.bytes(entry_key_field, key);
    return mark;
}

} // namespace conductor_grpc
