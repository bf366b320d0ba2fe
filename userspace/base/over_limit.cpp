// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/over_limit.hpp>

#include <utility>

namespace culvert::base {
namespace {

struct Category final : boost::system::error_category {
    const char* name() const noexcept override { return "limit"; }
    std::string message(int) const override { return "over a limit"; }
};

const Category category;

}

Error over_limit(std::string what) {
    return {{1, category}, std::move(what)};
}

bool is_over_limit(const Error& error) noexcept {
    return error.code.category() == category;
}

}
