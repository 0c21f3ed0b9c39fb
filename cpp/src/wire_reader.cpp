#include "conductor_grpc/wire_reader.hpp"

#include <string>

namespace conductor_grpc {
namespace {

std::string wire_type(WireType type) {
    return std::to_string(static_cast<unsigned>(type));
}

} // namespace

std::uint64_t WireReader::long_varint() {
    constexpr unsigned max_bytes = 10;
    std::uint64_t value = 0;
    for (unsigned count = 0; count < max_bytes; ++count) {
        if (position_ == end_) {
            fail("the message ends inside a number");
        }
        const auto byte = static_cast<unsigned char>(*position_++);
        value |= static_cast<std::uint64_t>(byte & 0x7FU) << (7U * count);
        if (byte < 0x80U) {
            return value;
        }
    }
    fail("a number is longer than 10 bytes");
}

void WireReader::fail(const char* message) const {
    fail_decode(message, where_);
}

void WireReader::fail_short(std::uint64_t length) const {
    fail_decode("the message is cut off: " + std::to_string(length) + " bytes should follow, " +
                    std::to_string(end_ - position_) + " are there",
                where_);
}

void WireReader::fail_type(const Tag& tag, WireType expected) const {
    fail_decode("field " + std::to_string(tag.field) + " has the wire type " + wire_type(tag.type) + ", expected " +
                    wire_type(expected),
                where_);
}

void WireReader::fail_type(const Tag& tag) const {
    fail_decode("field " + std::to_string(tag.field) + " has the wire type " + wire_type(tag.type) +
                    ", which is a group or undefined",
                where_);
}

} // namespace conductor_grpc
