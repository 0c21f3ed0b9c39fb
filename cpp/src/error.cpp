#include "conductor_grpc/error.hpp"

namespace conductor_grpc {

void fail_decode(const std::string& message, const Path* where) {
    throw DecodeError(message, render(where));
}

void fail_encode(const std::string& message, const Path* where) {
    throw EncodeError(message, render(where));
}

} // namespace conductor_grpc
