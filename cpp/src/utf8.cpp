#include "conductor_grpc/utf8.hpp"

namespace conductor_grpc {
namespace {

struct Lead {
    std::size_t length = 0; // 0: no sequence starts with this byte
    unsigned char second_low = 0x80;
    unsigned char second_high = 0xBF;
};

/// The second byte has a narrower range after some leads; that is where overlong forms and surrogates are cut off.
Lead classify(unsigned char lead) noexcept {
    if (lead < 0x80) {
        return {1};
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return {2};
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        return {3, static_cast<unsigned char>(lead == 0xE0 ? 0xA0 : 0x80),
                static_cast<unsigned char>(lead == 0xED ? 0x9F : 0xBF)};
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        return {4, static_cast<unsigned char>(lead == 0xF0 ? 0x90 : 0x80),
                static_cast<unsigned char>(lead == 0xF4 ? 0x8F : 0xBF)};
    }
    return {};
}

} // namespace

bool is_utf8(std::string_view bytes) noexcept {
    std::size_t position = 0;
    while (position < bytes.size()) {
        const Lead lead = classify(static_cast<unsigned char>(bytes[position]));
        if (lead.length == 0 || lead.length > bytes.size() - position) {
            return false;
        }
        for (std::size_t offset = 1; offset < lead.length; ++offset) {
            const auto next = static_cast<unsigned char>(bytes[position + offset]);
            const unsigned char low = offset == 1 ? lead.second_low : 0x80;
            const unsigned char high = offset == 1 ? lead.second_high : 0xBF;
            if (next < low || next > high) {
                return false;
            }
        }
        position += lead.length;
    }
    return true;
}

} // namespace conductor_grpc
