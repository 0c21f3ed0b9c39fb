// Makes the inputs of fuzz_decode.cpp where there is no libFuzzer: random objects, and messages damaged at random.
//   fuzz_decode [--seconds N] [--iterations N] [--seed N]
// It ends with whichever bound comes first. The same seed gives the same inputs.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_decode.hpp"

namespace {

using namespace conductor_grpc; // NOLINT(google-build-using-namespace): the functions under test
using json::Json;

class Random {
  public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    std::size_t below(std::size_t bound) { return bound == 0 ? 0 : engine_() % bound; }

    /// An object with a few levels; texts long enough to outgrow the writer's first buffer now and then.
    Json object(int depth) {
        json::Object entries;
        for (std::size_t count = below(4); count > 0; --count) {
            entries.emplace_back(text(8) + std::to_string(count), value(depth));
        }
        return {entries};
    }

    void damage(std::string& data, const std::string& other) {
        for (std::size_t round = 1 + below(6); round > 0; --round) {
            damage_once(data, other);
        }
    }

  private:
    std::string text(std::size_t longest) {
        constexpr std::string_view piece("a\xc3\xa9");
        std::string made;
        for (std::size_t length = below(longest); made.size() < length;) {
            made += below(20) == 0 ? piece.substr(1) : piece.substr(0, 1);
        }
        return made;
    }

    Json value(int depth) {
        switch (below(depth > 0 ? 6 : 4)) {
        case 0:
            return {};
        case 1:
            return {below(2) == 0};
        case 2:
            return {below(8) == 0 ? -0.0 : (static_cast<double>(below(1000)) - 500) / 4};
        case 3:
            return {text(below(8) == 0 ? 700 : 20)};
        case 4:
            return object(depth - 1);
        default:
            return {json::List(below(4), value(depth - 1))};
        }
    }

    void damage_once(std::string& data, const std::string& other) {
        const std::size_t position = below(data.size() + 1);
        switch (below(6)) {
        case 0:
            if (position < data.size()) {
                data[position] = static_cast<char>(static_cast<unsigned char>(data[position]) ^ (1U << below(8)));
            }
            break;
        case 1:
            if (position < data.size()) {
                data[position] = interesting();
            }
            break;
        case 2:
            data.insert(position, 1, interesting());
            break;
        case 3:
            data.erase(position, 1 + below(8));
            break;
        case 4:
            data.resize(position);
            break;
        default:
            data.insert(position, other.substr(below(other.size()), 1 + below(40)));
        }
    }

    /// Lengths, tags and continuation bytes do more damage than arbitrary ones.
    char interesting() {
        constexpr std::string_view bytes("\x00\x01\x08\x0a\x0b\x11\x12\x1a\x20\x2a\x32\x7f\x80\xc0\xed\xff", 16);
        return below(4) == 0 ? static_cast<char>(below(256)) : bytes[below(bytes.size())];
    }

    std::mt19937_64 engine_;
};

std::vector<std::string> corpus() {
    Json deep{1.0};
    for (int level = 0; level < max_read_depth - 2; ++level) {
        deep = level % 2 == 0 ? Json{json::List{deep}} : Json{json::Object{{"k", deep}}};
    }
    WireWriter task;
    task.bytes(1, "charge_card");
    task.tag(2, WireType::varint);
    task.varint(UINT64_MAX);
    json::write_entries(task, fuzz::map_field, {{"paid", {true}}, {"total", {19.5}}});
    task.bytes(4, "raw");
    task.bytes(7, "");
    task.bytes(200, "far");
    const WireWriter::Mark mark = open_entry(task, 6, "key");
    task.bytes(entry_value_field, "value");
    task.close(mark);
    std::vector<std::string> inputs{"", json::encode_map({json::Object{{"d", deep}}}, fuzz::map_field),
                                    json::finish(task)};
    for (std::size_t length = 0; length <= 17; ++length) {
        const Json text{std::string(length, 'x')};
        inputs.push_back(json::encode_map({json::Object{{"t", text}}}, fuzz::map_field));
    }
    return inputs;
}

struct Bounds {
    std::uint64_t seconds = 20;
    std::uint64_t iterations = UINT64_MAX;
    std::uint64_t seed = 1;
};

bool parse(const std::vector<std::string_view>& arguments, Bounds& bounds) {
    for (std::size_t index = 0; index + 1 < arguments.size(); index += 2) {
        const std::uint64_t number = std::strtoull(std::string(arguments[index + 1]).c_str(), nullptr, 10);
        if (arguments[index] == "--seconds") {
            bounds.seconds = number;
        } else if (arguments[index] == "--iterations") {
            bounds.iterations = number;
        } else if (arguments[index] == "--seed") {
            bounds.seed = number;
        } else {
            return false;
        }
    }
    return arguments.size() % 2 == 0;
}

int run(const Bounds& bounds) {
    constexpr std::size_t most_kept = 2000;
    constexpr std::size_t longest = 4096;
    std::vector<std::string> inputs = corpus();
    const std::size_t permanent = inputs.size();
    for (const std::string& input : inputs) {
        if (!fuzz::check_bytes(input)) {
            fuzz::broken("the corpus is valid", input);
        }
    }
    Random random(bounds.seed);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(bounds.seconds);
    std::uint64_t done = 0;
    std::uint64_t valid = 0;
    for (; done < bounds.iterations && std::chrono::steady_clock::now() < end; ++done) {
        std::string data = inputs[random.below(inputs.size())];
        if (random.below(4) == 0) {
            const Json object = random.object(3);
            fuzz::check_object(object);
            data = json::encode_map(object, fuzz::map_field);
        }
        random.damage(data, inputs[random.below(inputs.size())]);
        data.resize(std::min(data.size(), longest));
        if (fuzz::check_bytes(data)) { // still a message: worth damaging further
            ++valid;
            if (inputs.size() < most_kept) {
                inputs.push_back(data);
            } else {
                inputs[permanent + random.below(inputs.size() - permanent)] = data;
            }
        }
    }
    std::cout << done << " inputs with seed " << bounds.seed << ", " << valid << " of them valid\n";
    if (valid == 0 || valid == done) {
        std::cerr << "all inputs were alike, so that nothing was tested\n";
        return 1;
    }
    return 0;
}

} // namespace

int main(int count, char** arguments) {
    Bounds bounds;
    if (!parse({arguments + 1, arguments + count}, bounds)) {
        std::cerr << "usage: fuzz_decode [--seconds N] [--iterations N] [--seed N]\n";
        return 2;
    }
    return run(bounds);
}
