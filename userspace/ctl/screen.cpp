// SPDX-License-Identifier: Apache-2.0
#include "screen.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace culvert::ctl {

Screen standard_output() {
    Screen screen;
    screen.terminal = ::isatty(STDOUT_FILENO) == 1;
    if (!screen.terminal) return screen;
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) screen.width = size.ws_col;
    const char* no_colour = std::getenv("NO_COLOR");
    const char* kind = std::getenv("TERM");
    screen.colour = !(no_colour && *no_colour) && kind && std::string_view{kind} != "dumb";
    return screen;
}

bool print(std::string_view text) {
    while (!text.empty()) {
        auto written = ::write(STDOUT_FILENO, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

}
