// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string>

#include <culvert/base/result.hpp>

namespace culvert::base {

// The rest of an open file, which is borrowed. Fails where there are more than `most` bytes; `called` is what errors
// call the file.
Result<std::string> read_to_end(int fd, const std::string& called, std::size_t most);

}
