#pragma once

#include <cstdint>

namespace simple_cpp_lib {

/// The sum of two 32-bit integers. Throws std::overflow_error when it does not fit in 32 bits.
std::int32_t get_sum(std::int32_t a, std::int32_t b);

} // namespace simple_cpp_lib
