#include <atomic>
#include <exception>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include "check.hpp"
#include "conductor_grpc/cancellation.hpp"

using conductor_grpc::Cancellation;
using conductor_grpc::TaskCancelled;

namespace {

void never_cancelled() {
    CHECK(!Cancellation().cancelled());
    CHECK(!Cancellation(nullptr).cancelled());
    Cancellation().throw_if_cancelled();
}

void follows_its_flag() {
    std::atomic<bool> flag{false};
    const Cancellation cancellation(&flag);
    const Cancellation copy = cancellation; // NOLINT(performance-unnecessary-copy-initialization): what is tested
    CHECK(!cancellation.cancelled());
    cancellation.throw_if_cancelled();
    flag = true;
    CHECK(cancellation.cancelled());
    CHECK(copy.cancelled());
    CHECK_THROWS(TaskCancelled, "the task was cancelled", cancellation.throw_if_cancelled());
}

void is_no_runtime_error() {
    CHECK(std::is_base_of_v<std::exception, TaskCancelled>);
    CHECK(!std::is_base_of_v<std::runtime_error, TaskCancelled>);
}

void ends_a_loop_of_another_thread_and_shows_what_was_written_before() {
    std::atomic<bool> flag{false};
    std::atomic<bool> began{false};
    int reason = 0;
    int seen = 0;
    std::thread loop([&, cancellation = Cancellation(&flag)] {
        began = true;
        while (!cancellation.cancelled()) {
            std::this_thread::yield();
        }
        seen = reason;
    });
    while (!began) {
        std::this_thread::yield();
    }
    reason = 7;
    flag.store(true, std::memory_order_release);
    loop.join();
    CHECK_EQUAL(seen, 7);
}

} // namespace

int main() {
    return check::run({
        {"never cancelled", never_cancelled},
        {"follows its flag", follows_its_flag},
        {"is no runtime error", is_no_runtime_error},
        {"ends a loop of another thread and shows what was written before",
         ends_a_loop_of_another_thread_and_shows_what_was_written_before},
    });
}
