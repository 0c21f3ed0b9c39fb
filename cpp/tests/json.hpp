#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "conductor_grpc/value_reader.hpp"
#include "conductor_grpc/value_writer.hpp"

/// JSON values in plain C++: what the tests and the fuzz driver decode into and encode from, through the same templates
/// and functions as the Python bindings.
namespace json {

struct Json;
using List = std::vector<Json>;
using Object = std::vector<std::pair<std::string, Json>>; // in the order of arrival, keys once each

struct Json {
    std::variant<std::nullptr_t, bool, double, std::string, List, Object> value = nullptr;
};

bool operator==(const Json& left, const Json& right);

struct Builder {
    using Node = Json;

    static Json null() { return {}; }
    static Json boolean(bool value) { return {value}; }
    static Json number(double value) { return {value}; }
    static Json text(const conductor_grpc::Text& text) { return {std::string(text.bytes)}; }
    static void make_object(Json& node);
    static void make_list(Json& node);
    static void insert(Json& object, const conductor_grpc::Text& key, Json value);
    static std::size_t size(const Json& list) { return std::get<List>(list.value).size(); }
    static void append(Json& list, Json value) { std::get<List>(list.value).push_back(std::move(value)); }
};

/// The entries of `object` as field `field`, a map<string, Value>.
void write_entries(conductor_grpc::WireWriter& writer, std::uint32_t field, const Object& object);

std::string encode_map(const Json& object, std::uint32_t field);
Json decode_map(std::string_view message, std::uint32_t field);

/// The bytes of a finished message.
std::string finish(const conductor_grpc::WireWriter& writer);

} // namespace json
