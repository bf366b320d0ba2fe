// SPDX-License-Identifier: Apache-2.0
#include "records.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include <culvert/base/netns.hpp>

#include "instance.hpp"
#include "kernel.hpp"
#include "netns_search.hpp"

namespace culvert::capture {

namespace fs = std::filesystem;
using base::Fd;
using base::Result;

namespace {

constexpr const char* root = "/run/culvert";

std::string home_of(const std::string& instance) {
    return std::string{root} + "/" + instance;
}

std::string whole(const fs::path& path) {
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<fs::path> files_in(const fs::path& folder) {
    std::vector<fs::path> found;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator{folder, ignored}) found.push_back(entry.path());
    std::ranges::sort(found);
    return found;
}

}

Result<NetnsName> name_of(int netns) {
    auto cookie = base::in_netns(netns, netns_cookie);
    if (!cookie) return cookie.error();
    return NetnsName{netns_inode(netns), *cookie};
}

Fd find_netns(const NetnsName& name) {
    Fd netns = find_netns(name.inode);
    if (!netns) return {};
    auto found = name_of(netns.get());
    return found && *found == name ? std::move(netns) : Fd{};
}

std::string probe_mark(const NetnsName& node, int family) {
    return fmt::format("{}/probes-{}-v{}", root, node.cookie, family == AF_INET ? 4 : 6);
}

void forget_probe_marks(const NetnsName& node) noexcept {
    for (int family : {AF_INET, AF_INET6}) ::unlink(probe_mark(node, family).c_str());
}

std::string to_text(const Record& record) {
    std::string text =
        fmt::format("netns {} {}\nnode {} {}\nuid {}\nname {}\ntables {}\n", record.netns.inode, record.netns.cookie,
                    record.node.inode, record.node.cookie, record.uid, record.name, record.tables);
    for (const std::string& address : record.addresses) text += "address " + address + "\n";
    return text;
}

Record to_record(const std::string& text) {
    Record record;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        std::string what;
        words >> what >> std::ws;
        auto rest = [&words] {
            std::string value;
            std::getline(words, value);
            return value;
        };
        if (what == "netns") words >> record.netns.inode >> record.netns.cookie;
        if (what == "node") words >> record.node.inode >> record.node.cookie;
        if (what == "uid") record.uid = rest();
        if (what == "name") record.name = rest();
        if (what == "address") record.addresses.push_back(rest());
        if (what == "tables") record.tables = rest();
    }
    return record;
}

Result<Records> Records::open(const std::string& instance) {
    if (auto good = check_instance_name(instance); !good) return good.error();
    std::string home = home_of(instance);
    for (;;) {
        for (const std::string& folder : {std::string{root}, home, home + "/iptables"})
            if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
                return base::errno_while("make directory " + folder);
        Fd lock{::open(home.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (!lock) return base::errno_while("open " + home);
        if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) return base::errno_while("lock " + home);
            return base::problem("another culvertd runs as instance \"" + instance + "\" (it holds " + home +
                                 "); with capture: iptables it must end before the next starts");
        }
        if (is_still(lock.get(), home)) return Records{std::move(home), std::move(lock)};
    }
}

bool Records::exist(const std::string& instance) {
    return !files_in(home_of(instance) + "/iptables").empty();
}

bool Records::home_exists(const std::string& instance) {
    return check_instance_name(instance).has_value() && fs::exists(home_of(instance));
}

Result<> Records::put(const Record& record) {
    std::string path = file(record.netns), fresh = home_ + "/fresh", text = to_text(record);
    Fd out{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!out || ::write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::rename(fresh.c_str(), path.c_str()) != 0)
        return base::errno_while("note " + record.name + " in " + path);
    return {};
}

void Records::remove(const NetnsName& netns) noexcept {
    ::unlink(file(netns).c_str());
}

std::vector<Record> Records::all() const {
    std::vector<Record> records;
    for (const fs::path& path : files_in(home_ + "/iptables")) records.push_back(to_record(whole(path)));
    return records;
}

std::string Records::other_owner(const NetnsName& netns) const {
    for (const fs::path& home : files_in(root)) {
        if (home == home_) continue;
        Record record = to_record(whole(home / "iptables" / std::to_string(netns.inode)));
        if (record.netns == netns) return home.filename();
    }
    return {};
}

void Records::remove_home() noexcept {
    ::rmdir((home_ + "/iptables").c_str());
    for (const std::string& file : {lock_file(), home_ + "/fresh"}) ::unlink(file.c_str());
    ::rmdir(home_.c_str());
    ::rmdir(root);  // the last instance turns off the light
}

}
