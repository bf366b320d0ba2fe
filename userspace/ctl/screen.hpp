// SPDX-License-Identifier: Apache-2.0
// Where the answer goes.
#pragma once
#include <cstddef>
#include <string_view>

namespace culvert::ctl {

struct Screen {
    std::size_t width = 0;  // letters in a line; 0: as many as it takes
    bool colour = false;
    bool terminal = false;
};

// What standard output is: a terminal has a width, and colours unless NO_COLOR is set.
Screen standard_output();
// All of it, or false: nobody takes it any more.
bool print(std::string_view text);

}
