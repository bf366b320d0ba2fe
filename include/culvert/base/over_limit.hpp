// SPDX-License-Identifier: Apache-2.0
// A limit of ours is reached: told from other errors by the code, whatever the text says.
#pragma once
#include <culvert/base/result.hpp>

namespace culvert::base {

Error over_limit(std::string what);  // "over a limit: <what>"
bool is_over_limit(const Error& error) noexcept;

}
