#include "simple_cpp_lib/simple_cpp_lib.hpp"

#include <limits>
#include <stdexcept>
#include <string>

namespace simple_cpp_lib {

std::int32_t get_sum(std::int32_t a, std::int32_t b) {
    const std::int64_t sum = std::int64_t{a} + std::int64_t{b};
    if (sum < std::numeric_limits<std::int32_t>::min() || sum > std::numeric_limits<std::int32_t>::max()) {
        throw std::overflow_error("the sum of " + std::to_string(a) + " and " + std::to_string(b) +
                                  " does not fit in 32 bits");
    }
    return static_cast<std::int32_t>(sum);
}

} // namespace simple_cpp_lib
