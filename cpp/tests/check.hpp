#pragma once

#include <exception>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

/// A test program is a list of cases; it reports every failed check with its place and values and exits with their
/// number. Small on purpose: the tests build wherever a compiler is.
namespace check {

struct Case {
    const char* name;
    std::function<void()> run;
};

inline int& failures() {
    static int count = 0;
    return count;
}

inline void report(const char* file, int line, const std::string& message) {
    ++failures();
    std::cerr << file << ':' << line << ": " << message << '\n';
}

template <class Left, class Right>
void equal(const char* file, int line, const char* expression, const Left& left, const Right& right) {
    if (!(left == right)) {
        std::ostringstream text;
        text << expression << ": got " << left << ", expected " << right;
        report(file, line, text.str());
    }
}

/// Runs `action`, which has to throw an `Error` whose text contains `words`; gives the error to `inspect`.
template <class Error, class Action, class Inspect>
void throws(const char* file, int line, const std::string& words, Action action, Inspect inspect) {
    try {
        action();
    } catch (const Error& error) {
        if (std::string(error.what()).find(words) == std::string::npos) {
            report(file, line, "threw '" + std::string(error.what()) + "', expected '" + words + "' in it");
        }
        inspect(error);
        return;
    } catch (const std::exception& error) {
        report(file, line, "threw another error: " + std::string(error.what()));
        return;
    }
    report(file, line, "threw nothing, expected '" + words + "'");
}

inline int run(const std::vector<Case>& cases) {
    for (const Case& test : cases) {
        const int before = failures();
        try {
            test.run();
        } catch (const std::exception& error) {
            report(test.name, 0, std::string("unexpected error: ") + error.what());
        }
        std::cout << (failures() == before ? "ok      " : "FAILED  ") << test.name << '\n';
    }
    return failures() == 0 ? 0 : 1;
}

} // namespace check

// Macros, as only they know the place and the text of what is checked.
#define CHECK_EQUAL(left, right) check::equal(__FILE__, __LINE__, #left, (left), (right))
#define CHECK(...) check::equal(__FILE__, __LINE__, #__VA_ARGS__, static_cast<bool>(__VA_ARGS__), true)
#define CHECK_THROWS(Error, words, ...)                                                                                \
    check::throws<Error>(__FILE__, __LINE__, words, [&] { __VA_ARGS__; }, [](const Error&) {})
#define CHECK_THROWS_AT(Error, words, expected_path, ...)                                                              \
    check::throws<Error>(__FILE__, __LINE__, words, [&] { __VA_ARGS__; },                                              \
                         [&](const Error& error) { CHECK_EQUAL(error.path(), expected_path); })
