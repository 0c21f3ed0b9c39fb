#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace conductor_grpc {

/// One step of the way to a nested value. The steps live on the stack of the recursion that walks the value, so that
/// the way is known when something is wrong with it and costs next to nothing when nothing is.
struct Path {
    static constexpr std::size_t no_index = static_cast<std::size_t>(-1);

    const Path* parent = nullptr;
    std::string_view key;
    std::size_t index = no_index;
};

/// `items[3].price`; "" for null, which stands for the whole message.
std::string render(const Path* path);

} // namespace conductor_grpc
