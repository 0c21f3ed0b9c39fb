#pragma once

#include <string_view>
#include <utility>

#include "conductor_grpc/value.hpp"
#include "conductor_grpc/wire_reader.hpp"

namespace conductor_grpc {

/// Reads `map<string, google.protobuf.Value>` into whatever `Builder` makes of it, which has
///   using Node;                                     a value; movable
///   Node null(); Node boolean(bool); Node number(double); Node text(Text);
///   void make_object(Node&); void make_list(Node&); leave a node alone that is one already
///   void insert(Node& object, Text key, Node value); replaces an earlier value of the same key
///   std::size_t size(const Node& list); void append(Node& list, Node value);
///
/// As in protobuf: the last of several kinds wins, the same kind of container again is merged, unknown fields are
/// skipped. A value without a kind is null. Stricter than protobuf: a known field with a wrong wire type is an error.
template <class Builder> class ValueReader {
  public:
    using Node = typename Builder::Node;

    explicit ValueReader(Builder& builder) noexcept : builder_(builder) {}

    /// One entry of the map, into `object`. `depth` is that of its value: 1 for the outermost.
    void entry(std::string_view bytes, Node& object, int depth, const Path* parent) {
        Path where{parent, {}};
        WireReader reader(bytes, &where);
        Text key;
        Node node = builder_.null();
        while (!reader.done()) {
            const Tag tag = reader.tag();
            if (tag.field == entry_key_field) {
                reader.expect(tag, WireType::length_delimited);
                key = reader.text();
                where.key = key.bytes;
            } else if (tag.field == entry_value_field) {
                reader.expect(tag, WireType::length_delimited);
                value(reader.bytes(), node, depth, &where);
            } else {
                reader.skip(tag);
            }
        }
        builder_.insert(object, key, std::move(node));
    }

    /// A Value, merged into `node`.
    void value(std::string_view bytes, Node& node, int depth, const Path* where) {
        if (depth > max_read_depth) {
            fail_decode("the value is nested more than 100 levels deep", where);
        }
        WireReader reader(bytes, where);
        while (!reader.done()) {
            const Tag tag = reader.tag();
            switch (tag.field) {
            case value_field::null:
                reader.expect(tag, WireType::varint);
                reader.varint();
                node = builder_.null();
                break;
            case value_field::number:
                reader.expect(tag, WireType::fixed64);
                node = builder_.number(reader.fixed64());
                break;
            case value_field::text:
                reader.expect(tag, WireType::length_delimited);
                node = builder_.text(reader.text());
                break;
            case value_field::boolean:
                reader.expect(tag, WireType::varint);
                node = builder_.boolean(reader.varint() != 0);
                break;
            case value_field::object:
                reader.expect(tag, WireType::length_delimited);
                members_of_object(reader.bytes(), node, depth, where);
                break;
            case value_field::list:
                reader.expect(tag, WireType::length_delimited);
                members_of_list(reader.bytes(), node, depth, where);
                break;
            default:
                reader.skip(tag);
            }
        }
    }

  private:
    void members_of_object(std::string_view bytes, Node& node, int depth, const Path* where) {
        builder_.make_object(node);
        WireReader reader(bytes, where);
        while (!reader.done()) {
            const Tag tag = reader.tag();
            if (tag.field == members_field) {
                reader.expect(tag, WireType::length_delimited);
                entry(reader.bytes(), node, depth + 1, where);
            } else {
                reader.skip(tag);
            }
        }
    }

    void members_of_list(std::string_view bytes, Node& node, int depth, const Path* where) {
        builder_.make_list(node);
        WireReader reader(bytes, where);
        while (!reader.done()) {
            const Tag tag = reader.tag();
            if (tag.field == members_field) {
                reader.expect(tag, WireType::length_delimited);
                const Path here{where, {}, builder_.size(node)};
                Node item = builder_.null();
                value(reader.bytes(), item, depth + 1, &here);
                builder_.append(node, std::move(item));
            } else {
                reader.skip(tag);
            }
        }
    }

    Builder& builder_;
};

/// All entries of the map that is field `number` of `message`, into `object`; other fields are skipped.
template <class Builder>
void read_map(std::string_view message, std::uint32_t number, Builder& builder, typename Builder::Node& object) {
    builder.make_object(object);
    ValueReader<Builder> values(builder);
    WireReader reader(message, nullptr);
    while (!reader.done()) {
        const Tag tag = reader.tag();
        if (tag.field == number) {
            reader.expect(tag, WireType::length_delimited);
            values.entry(reader.bytes(), object, 1, nullptr);
        } else {
            reader.skip(tag);
        }
    }
}

} // namespace conductor_grpc
