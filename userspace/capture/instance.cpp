// SPDX-License-Identifier: Apache-2.0
#include "instance.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>

namespace culvert::capture {

base::Result<> check_instance_name(const std::string& name) {
    auto fits = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; };
    if (!name.empty() && name.size() <= 253 && name.front() != '.' && std::ranges::all_of(name, fits)) return {};
    return base::problem("instance name \"" + name + "\": only letters, digits, -, _ and dots within are possible");
}

bool is_still(int directory, const std::string& path) {
    struct stat held {
    }, there{};
    return ::fstat(directory, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_ino == there.st_ino;
}

}
