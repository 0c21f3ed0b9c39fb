#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "conductor_grpc/utf8.hpp"

namespace conductor_grpc::python {

pybind11::object make_text(const Text& text);

/// The keys seen last. The tasks of one type bring the same keys over and over; a shared string costs no allocation and
/// carries its hash along. Relies on the GIL: without one (Py_GIL_DISABLED) every key is made anew.
class KeyCache {
  public:
    pybind11::object get(const Text& key) {
#ifdef Py_GIL_DISABLED
        return make_text(key);
#else
        const std::size_t size = key.bytes.size();
        if (!key.ascii || size < 2 || size > longest_key) {
            return make_text(key);
        }
        pybind11::object& kept = entries_[slot(key.bytes)];
        if (kept && static_cast<std::size_t>(PyUnicode_GET_LENGTH(kept.ptr())) == size &&
            std::memcmp(PyUnicode_DATA(kept.ptr()), key.bytes.data(), size) == 0) {
            return kept;
        }
        kept = make_text(key);
        return kept;
#endif
    }

  private:
    static constexpr std::size_t slots = 256;
    static constexpr std::size_t longest_key = 40;

    static std::size_t slot(std::string_view bytes) noexcept {
        std::uint64_t hash = bytes.size();
        for (const char byte : bytes) {
            hash = (hash * 31) + static_cast<unsigned char>(byte);
        }
        return (hash ^ (hash >> 8U)) % slots;
    }

    std::array<pybind11::object, slots> entries_; // ASCII only, so that bytes and characters are the same
};

} // namespace conductor_grpc::python
