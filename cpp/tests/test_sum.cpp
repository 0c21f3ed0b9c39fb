#include <cstdint>
#include <limits>
#include <stdexcept>

#include "check.hpp"
#include "simple_cpp_lib/simple_cpp_lib.hpp"

namespace {

constexpr std::int32_t largest = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t smallest = std::numeric_limits<std::int32_t>::min();

void sums() {
    CHECK_EQUAL(simple_cpp_lib::get_sum(1, 2), 3);
    CHECK_EQUAL(simple_cpp_lib::get_sum(largest, smallest), -1);
    CHECK_EQUAL(simple_cpp_lib::get_sum(largest, 0), largest);
    CHECK_EQUAL(simple_cpp_lib::get_sum(smallest, 0), smallest);
}

void overflow_is_an_error() {
    CHECK_THROWS(std::overflow_error, "the sum of 2147483647 and 1 does not fit", simple_cpp_lib::get_sum(largest, 1));
    CHECK_THROWS(std::overflow_error, "the sum of -2147483648 and -1", simple_cpp_lib::get_sum(smallest, -1));
}

} // namespace

int main() {
    return check::run({{"sums", sums}, {"overflow is an error", overflow_is_an_error}});
}
