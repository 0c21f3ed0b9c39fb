#include <limits>
#include <string>

#include "check.hpp"
#include "conductor_grpc/value.hpp"
#include "json.hpp"

namespace {

using namespace conductor_grpc; // NOLINT(google-build-using-namespace): the functions under test
using json::Json;
using namespace std::string_literals;

std::string field(std::uint32_t number, const std::string& content) {
    WireWriter writer;
    writer.bytes(number, content);
    return json::finish(writer);
}

std::string entry(const std::string& key, const std::string& value) {
    return field(1, field(entry_key_field, key) + field(entry_value_field, value));
}

Json text(const char* value) {
    return {std::string(value)};
}

void every_kind_goes_there_and_back() {
    const Json object{json::Object{
        {"", Json{}},
        {"no", {false}},
        {"yes", {true}},
        {"number", {-0.5}},
        {"text", text("é\0")},
        {"empty list", {json::List{}}},
        {"empty object", {json::Object{}}},
        {"list", {json::List{{1.0}, Json{}, {json::List{{true}}}, {json::Object{{"k", text("v")}}}}}},
        {"long", {std::string(300, 'x')}},
    }};
    for (const std::uint32_t number : {1U, 15U, 16U, max_field_number}) {
        const std::string bytes = json::encode_map(object, number);
        CHECK(json::decode_map(bytes, number) == object);
        CHECK(json::decode_map(bytes, number == 1 ? 2 : 1) == Json{json::Object{}});
    }
}

void the_bytes_are_those_of_protobuf() {
    const Json object{json::Object{{"a", {json::List{{true}, Json{}}}}}};
    CHECK_EQUAL(json::encode_map(object, 3), "\x1a\x0f\x0a\x01\x61\x12\x0a\x32\x08\x0a\x02\x20\x01\x0a\x02\x08\x00"s);
}

void kinds_replace_each_other_and_containers_merge() {
    const std::string list = field(value_field::list, field(1, "\x20\x01"));
    CHECK(json::decode_map(entry("k", list + list), 1) ==
          Json{json::Object{{"k", {json::List{{true}, {true}}}}}});
    CHECK(json::decode_map(entry("k", list + "\x08\x00"s), 1) == Json{json::Object{{"k", Json{}}}});
    CHECK(json::decode_map(entry("k", list) + entry("k", "\x1a\x01x"), 1) == Json{json::Object{{"k", text("x")}}});
    CHECK(json::decode_map(entry("k", ""), 1) == Json{json::Object{{"k", Json{}}}});
    CHECK(json::decode_map(field(1, field(2, "\x20\x01")), 1) == Json{json::Object{{"", {true}}}});
}

void errors_name_the_path() {
    const std::string deep = field(value_field::list, field(1, "") + field(1, "\x10\x01"));
    CHECK_THROWS_AT(DecodeError, "field 2 has the wire type 0, expected 1", "a.b[1]",
                    json::decode_map(entry("a", field(value_field::object, entry("b", deep))), 1));
    CHECK_THROWS_AT(DecodeError, "UTF-8", "a", json::decode_map(entry("a", "\x1a\x01\xff"), 1));
    CHECK_THROWS_AT(DecodeError, "wire type 0, expected 2", "", json::decode_map("\x08\x01", 1));
}

void depth_is_limited() {
    const auto lists = [](int depth) {
        std::string value;
        for (int level = 0; level < depth; ++level) {
            value = field(value_field::list, field(1, value));
        }
        return entry("k", value);
    };
    CHECK(!std::get<json::Object>(json::decode_map(lists(max_read_depth - 1), 1).value).empty());
    CHECK_THROWS(DecodeError, "more than 100 levels", json::decode_map(lists(max_read_depth), 1));
    CHECK_THROWS(DecodeError, "more than 100 levels", json::decode_map(lists(10000), 1));
}

void whole_numbers() {
    for (const double whole : {0.0, 1.0, -1.0, 9007199254740992.0, -9007199254740992.0}) {
        CHECK(is_exact_integer(whole));
    }
    for (const double other : {0.5, 9007199254740994.0, 1e300, std::numeric_limits<double>::infinity(),
                               std::numeric_limits<double>::quiet_NaN()}) {
        CHECK(!is_exact_integer(other));
    }
}

} // namespace

int main() {
    return check::run({{"every kind goes there and back", every_kind_goes_there_and_back},
                       {"the bytes are those of protobuf", the_bytes_are_those_of_protobuf},
                       {"kinds replace each other and containers merge", kinds_replace_each_other_and_containers_merge},
                       {"errors name the path", errors_name_the_path},
                       {"depth is limited", depth_is_limited},
                       {"whole numbers", whole_numbers}});
}
