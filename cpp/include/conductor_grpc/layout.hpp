#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "conductor_grpc/wire.hpp"
#include "conductor_grpc/wire_reader.hpp"

namespace conductor_grpc {

/// What one field of a message holds, as far as decoding it goes.
enum class FieldKind : std::uint8_t { text, integer, boolean, bytes, value_map, text_map, messages, texts };

/// From the name that the Python side uses: "string", "int", "bool", "bytes", "value_map", "string_map", "messages",
/// "strings".
std::optional<FieldKind> parse_field_kind(std::string_view name) noexcept;

constexpr WireType wire_type_of(FieldKind kind) noexcept {
    return kind == FieldKind::integer || kind == FieldKind::boolean ? WireType::varint : WireType::length_delimited;
}

/// The fields to take from a message, by position. Immutable once built.
class FieldTable {
  public:
    struct Field {
        std::uint32_t number = 0;
        FieldKind kind = FieldKind::text;
    };

    /// Throws std::invalid_argument for a number out of range or given twice.
    explicit FieldTable(std::vector<Field> fields);

    [[nodiscard]] const std::vector<Field>& fields() const noexcept { return fields_; }

    static constexpr int none = -1;

    /// The position of the field with this number, or `none`.
    [[nodiscard]] int find(std::uint32_t number) const noexcept {
        return number < near_.size() ? near_[number] : find_far(number);
    }

  private:
    static constexpr std::size_t near_numbers = 128;

    [[nodiscard]] int find_far(std::uint32_t number) const noexcept;

    std::vector<Field> fields_;
    std::array<std::int16_t, near_numbers> near_{};
};

struct TextEntry {
    Text key;
    Text value;
};

/// One entry of a map<string, string>.
TextEntry read_text_entry(std::string_view bytes);

/// Walks `message` and hands every field of the table to `sink`, which has
///   void integer(int position, std::int64_t); void boolean(int, bool); void text(int, Text); void bytes(int, string_view);
///   void value_entry(int, string_view); void text_entry(int, Text key, Text value); void message(int, string_view);
///   void append_text(int, Text);
/// A field that occurs again is handed over again.
template <class Sink> void scan(const FieldTable& table, std::string_view message, Sink& sink) {
    WireReader reader(message, nullptr);
    while (!reader.done()) {
        const Tag tag = reader.tag();
        const int position = table.find(tag.field);
        if (position == FieldTable::none) {
            reader.skip(tag);
            continue;
        }
        const FieldKind kind = table.fields()[static_cast<std::size_t>(position)].kind;
        reader.expect(tag, wire_type_of(kind));
        switch (kind) {
        case FieldKind::text:
            sink.text(position, reader.text());
            break;
        case FieldKind::integer:
            sink.integer(position, static_cast<std::int64_t>(reader.varint()));
            break;
        case FieldKind::boolean:
            sink.boolean(position, reader.varint() != 0);
            break;
        case FieldKind::bytes:
            sink.bytes(position, reader.bytes());
            break;
        case FieldKind::value_map:
            sink.value_entry(position, reader.bytes());
            break;
        case FieldKind::text_map: {
            const TextEntry entry = read_text_entry(reader.bytes());
            sink.text_entry(position, entry.key, entry.value);
            break;
        }
        case FieldKind::messages:
            sink.message(position, reader.bytes());
            break;
        case FieldKind::texts:
            sink.append_text(position, reader.text());
            break;
        }
    }
}

} // namespace conductor_grpc
