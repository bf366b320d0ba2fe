// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/over_limit.hpp>
#include <culvert/base/result.hpp>

#include <cstdio>
#include <cstdlib>
#include <ostream>

namespace culvert::base {

std::string Error::cause() const {
    if (!code) return {};
    std::string text = code.message();
    if (code.category() == boost::system::system_category()) text += " (os error " + std::to_string(code.value()) + ")";
    return text;
}

std::string Error::to_string() const {
    if (!code) return doing;
    if (doing.empty()) return cause();
    if (is_over_limit(*this)) return cause() + ": " + doing;
    return doing + ": " + cause();
}

std::ostream& operator<<(std::ostream& out, const Error& error) {
    return out << error.to_string();
}

void check_failed(const char* file, int line, const char* condition, const char* why) noexcept {
    std::fprintf(stderr, "culvertd: bug at %s:%d: %s is not true. We believed: %s\n", file, line, condition, why);
    std::abort();
}

}
