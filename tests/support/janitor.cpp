// SPDX-License-Identifier: Apache-2.0
#include "janitor.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace culvert::test::janitor {
namespace {

int to_janitor = -1;

void remove_thing(const std::string& thing) {
    if (thing.starts_with("pid ")) ::kill(static_cast<pid_t>(std::strtol(thing.c_str() + 4, nullptr, 10)), SIGKILL);
    if (!thing.starts_with("run ")) return;
    if (std::system((thing.substr(4) + " >/dev/null 2>&1").c_str()) != 0)
        std::fprintf(stderr, "janitor: this left something behind: %s\n", thing.c_str() + 4);
}

[[noreturn]] void work(int orders) {
    std::vector<std::string> things;
    FILE* lines = ::fdopen(orders, "r");
    char* line = nullptr;
    std::size_t room = 0;
    for (ssize_t n = ::getline(&line, &room, lines); n > 0; n = ::getline(&line, &room, lines)) {
        const std::string thing(line + 1, static_cast<std::size_t>(n) - 2);
        if (line[0] == '+') {
            things.push_back(thing);
        } else {
            std::erase(things, thing);
        }
    }
    for (auto thing = things.rbegin(); thing != things.rend(); ++thing) remove_thing(*thing);
    ::_exit(0);
}

void tell(char sign, const std::string& thing) {
    if (to_janitor < 0) return;
    const std::string line = sign + thing + "\n";
    // A pipe takes up to PIPE_BUF at once, so lines of several threads do not mix.
    if (::write(to_janitor, line.data(), line.size()) < 0) ::perror("tell the janitor");
}

}

void hire() {
    int ends[2];
    if (to_janitor >= 0 || ::pipe2(ends, O_CLOEXEC) != 0) return;
    const pid_t child = ::fork();
    if (child == 0) {
        ::setsid();  // the terminal's Ctrl-C is not for the one who cleans up after it
        ::signal(SIGTERM, SIG_IGN);
        ::close(ends[1]);
        work(ends[0]);
    }
    ::close(ends[0]);
    to_janitor = ends[1];
}

void remember(const std::string& thing) {
    tell('+', thing);
}
void forget(const std::string& thing) {
    tell('-', thing);
}

}
