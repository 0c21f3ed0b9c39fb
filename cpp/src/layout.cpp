#include "conductor_grpc/layout.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include "conductor_grpc/value.hpp"

namespace conductor_grpc {

std::optional<FieldKind> parse_field_kind(std::string_view name) noexcept {
    constexpr std::array<std::pair<std::string_view, FieldKind>, 8> names{{
        {"string", FieldKind::text},
        {"int", FieldKind::integer},
        {"bool", FieldKind::boolean},
        {"bytes", FieldKind::bytes},
        {"value_map", FieldKind::value_map},
        {"string_map", FieldKind::text_map},
        {"messages", FieldKind::messages},
        {"strings", FieldKind::texts},
    }};
    for (const auto& [known, kind] : names) {
        if (known == name) {
            return kind;
        }
    }
    return std::nullopt;
}

FieldTable::FieldTable(std::vector<Field> fields) : fields_(std::move(fields)) {
    near_.fill(none);
    if (fields_.size() > INT16_MAX) {
        throw std::invalid_argument("a layout has at most 32767 fields");
    }
    for (std::size_t position = 0; position < fields_.size(); ++position) {
        const std::uint32_t number = fields_[position].number;
        if (number == 0 || number > max_field_number) {
            throw std::invalid_argument("the field number " + std::to_string(number) + " is not within 1 and 536870911");
        }
        for (std::size_t earlier = 0; earlier < position; ++earlier) {
            if (fields_[earlier].number == number) {
                throw std::invalid_argument("the field number " + std::to_string(number) + " is given twice");
            }
        }
        if (number < near_.size()) {
            near_[number] = static_cast<std::int16_t>(position);
        }
    }
}

int FieldTable::find_far(std::uint32_t number) const noexcept {
    for (std::size_t position = 0; position < fields_.size(); ++position) {
        if (fields_[position].number == number) {
            return static_cast<int>(position);
        }
    }
    return none;
}

TextEntry read_text_entry(std::string_view bytes) {
    Path where;
    WireReader reader(bytes, &where);
    TextEntry entry;
    while (!reader.done()) {
        const Tag tag = reader.tag();
        if (tag.field == entry_key_field) {
            reader.expect(tag, WireType::length_delimited);
            entry.key = reader.text();
            where.key = entry.key.bytes;
        } else if (tag.field == entry_value_field) {
            reader.expect(tag, WireType::length_delimited);
            entry.value = reader.text();
        } else {
            reader.skip(tag);
        }
    }
    return entry;
}

} // namespace conductor_grpc
