#include "conductor_grpc/wire_writer.hpp"

#include <algorithm>

namespace conductor_grpc {
namespace {

constexpr std::size_t first_buffer = 512;
constexpr std::size_t first_lengths = 32;

} // namespace

WireWriter::WireWriter() : buffer_(first_buffer) {
    lengths_.reserve(first_lengths);
}

WireWriter::Mark WireWriter::open(std::uint32_t field) {
    tag(field, WireType::length_delimited);
    lengths_.push_back({used_, length_bytes_, 0});
    return lengths_.size() - 1;
}

void WireWriter::close(Mark mark) noexcept {
    Length& length = lengths_[mark];
    length.value = (used_ - length.offset) + (length_bytes_ - length.inner_length_bytes);
    length_bytes_ += varint_length(length.value);
}

void WireWriter::copy_to(char* out) const noexcept {
    std::size_t copied = 0;
    const auto copy_until = [&](std::size_t offset) {
        if (offset > copied) {
            std::memcpy(out, buffer_.data() + copied, offset - copied);
            out += offset - copied;
            copied = offset;
        }
    };
    for (const Length& length : lengths_) { // opened in the order of their offsets
        copy_until(length.offset);
        std::uint64_t value = length.value;
        for (; value >= 0x80U; value >>= 7U) {
            *out++ = static_cast<char>((value & 0x7FU) | 0x80U);
        }
        *out++ = static_cast<char>(value);
    }
    copy_until(used_);
}

void WireWriter::grow(std::size_t size) {
    buffer_.resize(std::max(buffer_.size() * 2, used_ + size));
}

} // namespace conductor_grpc
