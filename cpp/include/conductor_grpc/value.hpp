#pragma once

#include <cmath>
#include <cstdint>

/// google.protobuf.Value, which carries JSON: its field numbers, its one kind of number, its limits.
namespace conductor_grpc {

namespace value_field {
constexpr std::uint32_t null = 1;
constexpr std::uint32_t number = 2;
constexpr std::uint32_t text = 3;
constexpr std::uint32_t boolean = 4;
constexpr std::uint32_t object = 5;
constexpr std::uint32_t list = 6;
} // namespace value_field

/// Struct.fields and ListValue.values.
constexpr std::uint32_t members_field = 1;
constexpr std::uint32_t entry_key_field = 1;
constexpr std::uint32_t entry_value_field = 2;

/// 2^53: up to here a double holds every integer exactly.
constexpr std::int64_t max_exact_integer = 9'007'199'254'740'992;

inline bool is_exact_integer(double value) noexcept {
    constexpr auto limit = static_cast<double>(max_exact_integer);
    return value >= -limit && value <= limit && std::trunc(value) == value;
}

/// How many values may contain each other when reading. More than any other reader of protobuf takes (see below), so
/// that whatever a server sends can be read; a limit all the same, because the walk is recursive.
constexpr int max_read_depth = 100;

/// protobuf readers, the server's among them, refuse messages nested more than this many levels below the outermost.
/// An object takes three levels (Value, Struct, entry), a list two (Value, ListValue).
constexpr int max_written_messages = 100;

/// The level of the outermost value of a map in a request such as UpdateTask: request > result > entry > value.
constexpr int first_written_message = 3;

} // namespace conductor_grpc
