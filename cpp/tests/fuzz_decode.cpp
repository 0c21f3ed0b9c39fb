// What must hold for any bytes at all. clang links this file to libFuzzer (CONDUCTOR_GRPC_LIBFUZZER); elsewhere
// fuzz_loop.cpp makes the inputs. Build it with sanitizers: without them an access out of bounds mostly goes unnoticed.
#include "fuzz_decode.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "conductor_grpc/layout.hpp"

namespace fuzz {
namespace {

using namespace conductor_grpc; // NOLINT(google-build-using-namespace): the functions under test
using json::Json;

bool all_texts_valid(const Json& json) {
    if (const auto* text = std::get_if<std::string>(&json.value)) {
        return is_utf8(*text);
    }
    if (const auto* list = std::get_if<json::List>(&json.value)) {
        for (const Json& item : *list) {
            if (!all_texts_valid(item)) {
                return false;
            }
        }
    }
    if (const auto* object = std::get_if<json::Object>(&json.value)) {
        for (const auto& [key, value] : *object) {
            if (!is_utf8(key) || !all_texts_valid(value)) {
                return false;
            }
        }
    }
    return true;
}

/// A value or a DecodeError; a value is valid text throughout and goes there and back unchanged.
bool check_map(std::string_view data) {
    Json object;
    try {
        object = json::decode_map(data, map_field);
    } catch (const DecodeError& error) {
        if (std::string_view(error.what()).empty()) {
            broken("an error says what is wrong", data);
        }
        return false;
    }
    if (!all_texts_valid(object)) {
        broken("decoded text is valid UTF-8", data);
    }
    check_object(object);
    return true;
}

/// Adds up what it is handed, and reads all of it, so that the sanitizers see every byte touched.
struct Sum {
    std::string_view whole;
    std::uint64_t total = 0;
    std::size_t fields = 0;

    void add(std::string_view view) {
        if (!view.empty() && (view.data() < whole.data() || view.data() + view.size() > whole.data() + whole.size())) {
            broken("a field lies within its message", whole);
        }
        ++fields;
        for (const char byte : view) {
            total += static_cast<unsigned char>(byte);
        }
    }
    void integer(int /*position*/, std::int64_t value) { total += static_cast<std::uint64_t>(value); }
    void boolean(int /*position*/, bool value) { total += value ? 1 : 0; }
    void text(int /*position*/, const Text& value) { add(value.bytes); }
    void bytes(int /*position*/, std::string_view value) { add(value); }
    void value_entry(int /*position*/, std::string_view entry) { add(entry); }
    void message(int /*position*/, std::string_view value) { add(value); }
    void append_text(int /*position*/, const Text& value) { add(value.bytes); }
    void text_entry(int /*position*/, const Text& key, const Text& value) {
        add(key.bytes);
        add(value.bytes);
    }
};

void check_layout(std::string_view data, bool map_is_valid) {
    static const FieldTable table({{1, FieldKind::text},
                                   {2, FieldKind::integer},
                                   {map_field, FieldKind::value_map},
                                   {4, FieldKind::bytes},
                                   {5, FieldKind::boolean},
                                   {6, FieldKind::text_map},
                                   {7, FieldKind::messages},
                                   {200, FieldKind::texts}});
    static const FieldTable only_map({{map_field, FieldKind::value_map}});
    Sum sum{data};
    try {
        scan(table, data, sum);
    } catch (const DecodeError&) {
        sum.fields = 0; // what came before the error does not count
    }
    Sum map_sum{data};
    try {
        scan(only_map, data, map_sum);
    } catch (const DecodeError&) {
        if (map_is_valid) {
            broken("a layout reads the message that decode_map reads", data);
        }
    }
}

/// The bytes as a Value or an entry by itself: there the end of the memory is the end of the innermost message.
void check_parts(std::string_view data) {
    json::Builder builder;
    ValueReader<json::Builder> reader(builder);
    Json value;
    Json object{json::Object{}};
    try {
        reader.value(data, value, 1, nullptr);
    } catch (const DecodeError&) {
        value = {};
    }
    try {
        reader.entry(data, object, 1, nullptr);
    } catch (const DecodeError&) {
        object = {json::Object{}};
    }
    try {
        read_text_entry(data);
    } catch (const DecodeError&) {
        return;
    }
    if (!all_texts_valid(value) || !all_texts_valid(object)) {
        broken("decoded text is valid UTF-8", data);
    }
}

} // namespace

void broken(const char* property, std::string_view data) {
    std::cerr << "broken: " << property << "\ninput:";
    for (const char byte : data) {
        std::cerr << ' ' << static_cast<unsigned>(static_cast<unsigned char>(byte));
    }
    std::cerr << '\n';
    std::abort();
}

void check_object(const Json& object) {
    const std::string encoded = json::encode_map(object, map_field);
    const Json decoded = json::decode_map(encoded, map_field);
    if (!(decoded == object)) {
        broken("decode(encode(x)) == x", encoded);
    }
    if (json::encode_map(decoded, map_field) != encoded) {
        broken("encode(decode(b)) == b for b made by encode", encoded);
    }
}

bool check_bytes(std::string_view data) {
    // A copy of exactly this size: one byte further is the sanitizer's.
    const std::unique_ptr<char[]> exact(new char[data.size()]); // NOLINT(modernize-avoid-c-arrays)
    data.copy(exact.get(), data.size());
    const std::string_view view(exact.get(), data.size());
    const bool valid = check_map(view);
    check_layout(view, valid);
    check_parts(view);
    return valid;
}

} // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::check_bytes({reinterpret_cast<const char*>(data), size});
    return 0;
}
