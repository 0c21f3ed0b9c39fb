#pragma once

#include <cstdint>
#include <string_view>

#include "json.hpp"

namespace fuzz {

/// The field that the checks decode as a map<string, Value>.
constexpr std::uint32_t map_field = 3;

/// Reports the property that does not hold for `data` and aborts.
[[noreturn]] void broken(const char* property, std::string_view data);

/// Checks that an object goes there and back. Aborts if not.
void check_object(const json::Json& object);

/// Checks all that must hold for any bytes. Aborts if it does not; tells whether they are a message.
bool check_bytes(std::string_view data);

} // namespace fuzz
