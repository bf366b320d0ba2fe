// SPDX-License-Identifier: Apache-2.0
// base::in_netns for tests: the visitor may throw, a namespace that cannot be entered is an exception.
#pragma once
#include <stdexcept>
#include <type_traits>

#include <culvert/base/netns.hpp>

namespace culvert::test {

// netns borrowed; -1 stays here.
template <std::invocable F>
std::invoke_result_t<F> visit(int netns, F&& fn) {
    if (netns < 0) return fn();
    auto result = base::in_netns(netns, std::forward<F>(fn));
    if (!result) throw std::runtime_error(result.error().to_string());
    if constexpr (!std::is_void_v<std::invoke_result_t<F>>) return std::move(*result);
}

}
