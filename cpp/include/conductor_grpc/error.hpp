#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "conductor_grpc/path.hpp"

namespace conductor_grpc {

/// Something is wrong with one value. `what()` says what, without the path; `path()` says where.
class PayloadError : public std::runtime_error {
  public:
    PayloadError(const std::string& message, std::string path) : std::runtime_error(message), path_(std::move(path)) {}

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
};

/// The bytes are not the message they should be.
class DecodeError : public PayloadError {
    using PayloadError::PayloadError;
};

/// The value cannot be represented on the wire.
class EncodeError : public PayloadError {
    using PayloadError::PayloadError;
};

[[noreturn]] void fail_decode(const std::string& message, const Path* where);
[[noreturn]] void fail_encode(const std::string& message, const Path* where);

} // namespace conductor_grpc
