#pragma once

#include <atomic>
#include <exception>

namespace conductor_grpc {

// Extensions built by other compilers, against other versions of pybind11, look at the same byte.
static_assert(std::atomic<bool>::is_always_lock_free && sizeof(std::atomic<bool>) == 1);

/// The PyCapsule of this name holds a `const std::atomic<bool>*`, true once the task is cancelled. It keeps what it
/// points to alive.
inline constexpr char cancellation_capsule[] = "conductor_grpc.cancellation"; // NOLINT(*-avoid-c-arrays): a C name

/// The task was cancelled while it ran, so nobody waits for its result. Python sees it as TaskCancelledError.
///
/// Not a std::runtime_error, so that code which recovers from those does not go on with work that is of no use.
class TaskCancelled : public std::exception {
  public:
    [[nodiscard]] const char* what() const noexcept override { return "the task was cancelled while it ran"; }
};

/// Whether the work has lost its purpose: a view of somebody else's atomic flag, cheap to copy and to ask in every
/// round of a loop, from any thread, without the interpreter's lock.
///
/// Valid while the flag lives. One that came as an argument from Python does so until the function returns; a thread
/// that the function starts has to end before that.
class Cancellation {
  public:
    /// Never cancelled.
    Cancellation() noexcept = default;

    /// Cancelled once `flag` is true; never if it is null.
    explicit Cancellation(const std::atomic<bool>* flag) noexcept : flag_(flag) {}

    /// Once true it stays true, and what the canceller wrote before is visible.
    [[nodiscard]] bool cancelled() const noexcept {
        return flag_ != nullptr && flag_->load(std::memory_order_acquire);
    }

    void throw_if_cancelled() const {
        if (cancelled()) {
            throw TaskCancelled();
        }
    }

  private:
    const std::atomic<bool>* flag_ = nullptr;
};

} // namespace conductor_grpc
