// SPDX-License-Identifier: Apache-2.0
#include "netns_search.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cctype>
#include <fstream>
#include <sstream>
#include <string>

namespace culvert::capture {

namespace {

using base::Fd;

Fd open_if(const std::string& path, std::uint32_t inode) {
    Fd netns{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (netns && netns_inode(netns.get()) == inode) return netns;
    return {};
}

Fd find_mounted(std::uint32_t inode) {
    const std::string wanted = "net:[" + std::to_string(inode) + "]";
    std::ifstream table{"/proc/self/mountinfo"};
    for (std::string line; std::getline(table, line);) {
        std::istringstream words{line};
        std::string skip, root, point;
        words >> skip >> skip >> skip >> root >> point;
        if (root != wanted) continue;
        if (Fd found = open_if(point, inode)) return found;
    }
    return {};
}

Fd find_in_processes(std::uint32_t inode) {
    base::Handle<DIR, ::closedir> processes{::opendir("/proc")};
    if (!processes) return {};
    while (const dirent* entry = ::readdir(processes.get())) {
        if (!std::isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
        if (Fd found = open_if(std::string{"/proc/"} + entry->d_name + "/ns/net", inode)) return found;
    }
    return {};
}

}

std::uint32_t netns_inode(int netns) noexcept {
    struct stat status {};
    return ::fstat(netns, &status) == 0 ? static_cast<std::uint32_t>(status.st_ino) : 0;
}

Fd find_netns(std::uint32_t inode) {
    if (inode == 0) return {};
    if (Fd found = find_mounted(inode)) return found;
    return find_in_processes(inode);
}

bool netns_in_use(std::uint64_t inode) {
    return inode != 0 && bool(find_in_processes(static_cast<std::uint32_t>(inode)));
}

}
