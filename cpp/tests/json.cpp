#include "json.hpp"

#include <algorithm>
#include <cstring>

namespace json {
namespace {

using namespace conductor_grpc; // NOLINT(google-build-using-namespace): the functions under test

void write_value(WireWriter& writer, std::uint32_t field, const Json& json) {
    if (const auto* boolean = std::get_if<bool>(&json.value)) {
        write_boolean(writer, field, *boolean);
    } else if (const auto* number = std::get_if<double>(&json.value)) {
        write_number(writer, field, *number);
    } else if (const auto* text = std::get_if<std::string>(&json.value)) {
        write_text(writer, field, *text);
    } else if (const auto* list = std::get_if<List>(&json.value)) {
        const MembersMark mark = open_members(writer, field, value_field::list);
        for (const Json& item : *list) {
            write_value(writer, members_field, item);
        }
        close_members(writer, mark);
    } else if (const auto* object = std::get_if<Object>(&json.value)) {
        const MembersMark mark = open_members(writer, field, value_field::object);
        write_entries(writer, members_field, *object);
        close_members(writer, mark);
    } else {
        write_null(writer, field);
    }
}

std::uint64_t bits_of(double number) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}

} // namespace

bool operator==(const Json& left, const Json& right) {
    const auto* a = std::get_if<double>(&left.value);
    const auto* b = std::get_if<double>(&right.value);
    return a != nullptr && b != nullptr ? bits_of(*a) == bits_of(*b) : left.value == right.value;
}

void Builder::make_object(Json& node) {
    if (!std::holds_alternative<Object>(node.value)) {
        node.value = Object();
    }
}

void Builder::make_list(Json& node) {
    if (!std::holds_alternative<List>(node.value)) {
        node.value = List();
    }
}

void Builder::insert(Json& object, const Text& key, Json value) {
    auto& entries = std::get<Object>(object.value);
    const auto present =
        std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == key.bytes; });
    if (present != entries.end()) {
        present->second = std::move(value);
    } else {
        entries.emplace_back(std::string(key.bytes), std::move(value));
    }
}

void write_entries(WireWriter& writer, std::uint32_t field, const Object& object) {
    for (const auto& [key, value] : object) {
        const WireWriter::Mark mark = open_entry(writer, field, key);
        write_value(writer, entry_value_field, value);
        writer.close(mark);
    }
}

std::string finish(const WireWriter& writer) {
    std::string bytes(writer.size(), '\0');
    writer.copy_to(bytes.data());
    return bytes;
}

std::string encode_map(const Json& object, std::uint32_t field) {
    WireWriter writer;
    write_entries(writer, field, std::get<Object>(object.value));
    return finish(writer);
}

Json decode_map(std::string_view message, std::uint32_t field) {
    Builder builder;
    Json object;
    read_map(message, field, builder, object);
    return object;
}

} // namespace json
