// SPDX-License-Identifier: Apache-2.0
#include "start_pages.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::node {
namespace {

// Not libbpf: each connection of capture: ebpf needs it.
constexpr std::array<std::string_view, 9> for_the_start = {
    "ld-linux", "libcrypto.", "libelf.", "libm.", "libprometheus", "libssl.", "libyaml-cpp.", "libz.", "libzstd."};

struct Mapping {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    bool wanted = false;
};

bool is_for_the_start(std::string_view path) {
    std::string_view name = path.substr(path.rfind('/') + 1);
    return std::ranges::any_of(for_the_start, [&](std::string_view start) { return name.starts_with(start); });
}

// As linkers lay a file out: headers, symbols and relocations first, apart from code.
bool has_symbols(std::string_view path, std::string_view rights, unsigned long offset) {
    return path.starts_with('/') && rights[2] != 'x' && offset == 0;
}

// proc(5), /proc/pid/smaps. A mapping of which one page is no longer the file's (a relocation, a debugger's breakpoint)
// would lose that.
template <class Wanted>
std::vector<Mapping> unchanged_mappings(Wanted wanted) {
    std::vector<Mapping> found;
    std::ifstream smaps{"/proc/self/smaps"};
    Mapping now;
    for (std::string line; std::getline(smaps, line);) {
        unsigned long begin = 0, end = 0, offset = 0, changed = 0;
        char rights[5] = {};
        int path = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx %4s %lx %*s %*s %n", &begin, &end, rights, &offset, &path) == 4 &&
            path > 0)
            now = {begin, end, rights[1] != 'w' && wanted(line.substr(path), rights, offset)};
        else if (now.wanted && std::sscanf(line.c_str(), "Anonymous: %lu", &changed) == 1 && changed == 0)
            found.push_back(now);
    }
    return found;
}

template <class Wanted>
void forget(Wanted wanted) noexcept {
    for (const Mapping& mapping : unchanged_mappings(wanted))
        ::madvise(reinterpret_cast<void*>(mapping.begin), mapping.end - mapping.begin, MADV_DONTNEED);
}

}

void forget_start_pages() noexcept {
    forget([](std::string_view path, std::string_view, unsigned long) { return is_for_the_start(path); });
}

void forget_symbols() noexcept {
    forget(has_symbols);
}

}
