#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "conductor_grpc/error.hpp"
#include "conductor_grpc/utf8.hpp"
#include "conductor_grpc/wire.hpp"

namespace conductor_grpc {

/// Reads one message from memory it does not own. Every read is checked against the end; what cannot be read throws
/// DecodeError with the path given to the constructor. Accepts what protobuf accepts, except groups.
class WireReader {
  public:
    WireReader(std::string_view bytes, const Path* where) noexcept
        : position_(bytes.data()), end_(bytes.data() + bytes.size()), where_(where) {}

    [[nodiscard]] bool done() const noexcept { return position_ == end_; }

    Tag tag() {
        const char* const start = position_;
        const std::uint64_t raw = varint();
        if (position_ - start > max_tag_length || raw > UINT32_MAX) {
            fail("a tag is longer than 32 bits");
        }
        const Tag tag{static_cast<std::uint32_t>(raw >> tag_type_bits), static_cast<WireType>(raw & 7U)};
        if (tag.field == 0) {
            fail("a tag has the field number 0");
        }
        return tag;
    }

    /// Bits beyond the 64th are dropped, as protobuf does; only the length is limited.
    std::uint64_t varint() {
        if (position_ != end_ && static_cast<signed char>(*position_) >= 0) {
            return static_cast<unsigned char>(*position_++);
        }
        return long_varint();
    }

    double fixed64() {
        const std::string_view bytes = take(sizeof(double));
        std::uint64_t bits = 0;
        for (std::size_t index = 0; index < sizeof bits; ++index) { // compilers make one load of it
            bits |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[index])) << (8 * index);
        }
        double value = 0;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }

    std::string_view bytes() { return take(varint()); }

    Text text() {
        const std::string_view view = bytes();
        const bool ascii = is_ascii(view);
        if (!ascii && !is_utf8(view)) {
            fail("a text is not valid UTF-8");
        }
        return {view, ascii};
    }

    void expect(const Tag& tag, WireType type) const {
        if (tag.type != type) {
            fail_type(tag, type);
        }
    }

    void skip(const Tag& tag) {
        switch (tag.type) {
        case WireType::varint:
            varint();
            return;
        case WireType::fixed64:
            take(8);
            return;
        case WireType::length_delimited:
            bytes();
            return;
        case WireType::fixed32:
            take(4);
            return;
        }
        fail_type(tag);
    }

  private:
    static constexpr std::ptrdiff_t max_tag_length = 5;

    std::string_view take(std::uint64_t length) {
        if (length > static_cast<std::uint64_t>(end_ - position_)) {
            fail_short(length);
        }
        const std::string_view view(position_, static_cast<std::size_t>(length));
        position_ += length;
        return view;
    }

    std::uint64_t long_varint();
    [[noreturn]] void fail(const char* message) const;
    [[noreturn]] void fail_short(std::uint64_t length) const;
    [[noreturn]] void fail_type(const Tag& tag, WireType expected) const;
    [[noreturn]] void fail_type(const Tag& tag) const;

    const char* position_;
    const char* end_;
    const Path* where_;
};

} // namespace conductor_grpc
