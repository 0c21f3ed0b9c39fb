#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "conductor_grpc/wire.hpp"

namespace conductor_grpc {

constexpr std::size_t varint_length(std::uint64_t value) noexcept {
    std::size_t length = 1;
    for (; value >= 0x80U; value >>= 7U) {
        ++length;
    }
    return length;
}

/// Writes one message in a single walk over the value, although the length of a nested message stands before it and is
/// known only after it: the lengths are noted beside the content and woven in by `copy_to`.
class WireWriter {
  public:
    using Mark = std::size_t;

    WireWriter();

    /// The length of a nested message comes after this tag; close the mark when its content is written.
    /// Marks nest: the last one opened is closed first.
    Mark open(std::uint32_t field);
    void close(Mark mark) noexcept;

    void tag(std::uint32_t field, WireType type) {
        varint((static_cast<std::uint64_t>(field) << tag_type_bits) | static_cast<std::uint64_t>(type));
    }

    void varint(std::uint64_t value) {
        char* out = room(max_varint_length);
        const char* const start = out;
        for (; value >= 0x80U; value >>= 7U) {
            *out++ = static_cast<char>((value & 0x7FU) | 0x80U);
        }
        *out++ = static_cast<char>(value);
        used_ += static_cast<std::size_t>(out - start);
    }

    void fixed64(double value) {
        std::uint64_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        char* out = room(sizeof bits);
        for (std::size_t index = 0; index < sizeof bits; ++index) {
            out[index] = static_cast<char>(bits >> (8 * index));
        }
        used_ += sizeof bits;
    }

    /// Tag, length, content: a string, bytes, or a message that is already encoded.
    void bytes(std::uint32_t field, std::string_view content) {
        tag(field, WireType::length_delimited);
        varint(content.size());
        raw(content);
    }

    void raw(std::string_view content) {
        if (!content.empty()) {
            std::memcpy(room(content.size()), content.data(), content.size());
            used_ += content.size();
        }
    }

    /// The size of the finished message.
    [[nodiscard]] std::size_t size() const noexcept { return used_ + length_bytes_; }

    /// Writes the finished message, `size()` bytes, to `out`. Every mark has to be closed.
    void copy_to(char* out) const noexcept;

  private:
    struct Length {
        std::size_t offset = 0; // of the content, among the content
        std::size_t inner_length_bytes = 0;
        std::uint64_t value = 0;
    };

    static constexpr std::size_t max_varint_length = 10;

    char* room(std::size_t size) {
        if (buffer_.size() - used_ < size) {
            grow(size);
        }
        return buffer_.data() + used_;
    }

    void grow(std::size_t size);

    std::vector<char> buffer_;
    std::size_t used_ = 0;
    std::vector<Length> lengths_;
    std::size_t length_bytes_ = 0;
};

} // namespace conductor_grpc
