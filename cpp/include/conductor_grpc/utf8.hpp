#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace conductor_grpc {

/// Text known to be valid UTF-8.
struct Text {
    std::string_view bytes;
    bool ascii = true;
};

/// Eight bytes at a time: most text on the wire is ASCII, and knowing it spares the general decoder.
inline bool is_ascii(std::string_view bytes) noexcept {
    constexpr std::uint64_t high_bits = 0x8080808080808080U;
    std::uint64_t seen = 0;
    std::size_t position = 0;
    for (; position + sizeof(std::uint64_t) <= bytes.size(); position += sizeof(std::uint64_t)) {
        std::uint64_t chunk = 0;
        std::memcpy(&chunk, bytes.data() + position, sizeof chunk);
        seen |= chunk;
    }
    for (; position < bytes.size(); ++position) {
        seen |= static_cast<unsigned char>(bytes[position]);
    }
    return (seen & high_bits) == 0;
}

/// RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes) noexcept;

} // namespace conductor_grpc
