#include "conductor_grpc/path.hpp"

#include <string>
#include <vector>

namespace conductor_grpc {

std::string render(const Path* path) {
    std::vector<const Path*> steps;
    for (; path != nullptr; path = path->parent) {
        steps.push_back(path);
    }
    std::string text;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        if ((*step)->index != Path::no_index) {
            text += '[' + std::to_string((*step)->index) + ']';
        } else {
            if (step != steps.rbegin()) {
                text += '.';
            }
            text += (*step)->key;
        }
    }
    return text;
}

} // namespace conductor_grpc
