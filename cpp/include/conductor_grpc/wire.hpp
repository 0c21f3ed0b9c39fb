#pragma once

#include <cstdint>

namespace conductor_grpc {

/// How the bytes after a tag are to be read. Groups (3 and 4) are left out: no message of this protocol has one.
enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, length_delimited = 2, fixed32 = 5 };

struct Tag {
    std::uint32_t field = 0;
    WireType type = WireType::varint;
};

constexpr std::uint32_t max_field_number = (1U << 29U) - 1;
constexpr unsigned tag_type_bits = 3;

} // namespace conductor_grpc
