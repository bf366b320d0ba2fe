// SPDX-License-Identifier: Apache-2.0
#include "pins.hpp"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include "instance.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

constexpr std::string_view old_prefix = "old_";
// By these the programs of one version know the sockets of another's daemon, which may still be serving.
constexpr std::array<std::string_view, 3> frozen{"cv_own_socks", "cv_listen_socks", "cv_legs"};

bool is_old(const std::string& name) {
    return name.starts_with(old_prefix);
}

std::vector<std::string> to_set_aside(const std::string& home) {
    auto names = pins_in(home);
    std::erase_if(names, [](const std::string& name) {
        return is_old(name) || std::find(frozen.begin(), frozen.end(), name) != frozen.end();
    });
    return names;
}

Fd open_directory(const std::string& path) {
    return Fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
}

base::Error somebody_runs(const std::string& instance, const std::string& home) {
    return base::problem("another culvertd runs as instance \"" + instance + "\" (it holds " + home +
                         "); start with --take-over to replace it");
}

// Nodes of a cluster have names of DNS.
// bpffs keeps names with dots to itself.
std::string home_of(const std::string& bpffs, std::string instance) {
    std::replace(instance.begin(), instance.end(), '.', '_');
    return bpffs + "/culvert/" + instance;
}

}

Result<> pin(int object, const std::string& path) {
    if (bpf_obj_pin(object, path.c_str()) != 0) return base::errno_while("pin " + path);
    return {};
}

Fd pinned(const std::string& path) {
    int fd = bpf_obj_get(path.c_str());
    return fd < 0 ? Fd{} : Fd{fd};
}

void unpin(const std::string& path) {
    ::unlink(path.c_str());
}

std::vector<std::string> pins_in(const std::string& directory) {
    std::vector<std::string> names;
    base::Handle<DIR, ::closedir> listing{::opendir(directory.c_str())};
    if (!listing) return names;
    while (const dirent* entry = ::readdir(listing.get()))
        if (std::string name = entry->d_name; name != "." && name != "..") names.push_back(std::move(name));
    std::sort(names.begin(), names.end());
    return names;
}

Result<> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return base::errno_while("make directory " + path);
    return {};
}

void remove_tree(const std::string& directory) {
    for (const std::string& name : pins_in(directory)) {
        std::string path = directory + "/" + name;
        if (::unlink(path.c_str()) != 0) remove_tree(path);
    }
    ::rmdir(directory.c_str());
}

Result<Pins> Pins::open(const std::string& bpffs, const std::string& instance, bool may_share) {
    if (auto good = check_instance_name(instance); !good) return good.error();
    std::string home = home_of(bpffs, instance);
    for (;;) {
        if (auto made = make_directory(bpffs + "/culvert"); !made) return made.error();
        if (auto made = make_directory(home); !made) return made.error();
        Fd lock = open_directory(home);
        if (!lock) return base::errno_while("open " + home);
        if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) return base::errno_while("lock " + home);
            if (!may_share) return somebody_runs(instance, home);
            lock.reset();
        }
        if (lock && !is_still(lock.get(), home)) continue;  // a cleanup took it away before we had the lock
        if (auto made = make_directory(home + "/pods"); !made) return made.error();
        // A daemon that is being replaced, or has just replaced one, may hold this alone.
        if (!may_share && ::flock(open_directory(home + "/pods").get(), LOCK_EX | LOCK_NB) != 0)
            return somebody_runs(instance, home);
        Pins pins{std::move(home), std::move(lock)};
        pins.say_alive();
        return pins;
    }
}

// Shared by all daemons of the instance: while one lives nobody may clean up.
void Pins::say_alive() {
    if (alive_ && is_still(alive_.get(), path("pods"))) return;
    Fd pods = open_directory(path("pods"));
    if (!pods || ::flock(pods.get(), LOCK_SH | LOCK_NB) == 0)
        alive_ = std::move(pods);  // else somebody looks: again soon
}

void Pins::restore() {
    say_alive();
    if (lock_ && is_still(lock_.get(), home_)) return;
    std::filesystem::path home{home_};
    if (!make_directory(home.parent_path()) || !make_directory(home_) || !make_directory(path("pods"))) return;
    say_alive();
    Fd lock = open_directory(home_);
    if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) lock_ = std::move(lock);
}

bool Pins::are_held(const std::string& bpffs, const std::string& instance) {
    Fd pods = open_directory(home_of(bpffs, instance) + "/pods");
    return pods && ::flock(pods.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

bool Pins::exists(const std::string& bpffs, const std::string& instance) {
    struct stat status {};
    return ::stat(home_of(bpffs, instance).c_str(), &status) == 0;
}

std::vector<std::uint64_t> pods_in(const std::string& home) {
    std::vector<std::uint64_t> cookies;
    for (const std::string& name : pins_in(home + "/pods")) {
        std::uint64_t cookie = 0;
        auto end = name.data() + name.size();
        if (std::from_chars(name.data(), end, cookie).ptr == end) cookies.push_back(cookie);
    }
    return cookies;
}

std::vector<std::uint64_t> Pins::pods() const {
    return pods_in(home_);
}

std::string Pins::other_owner(std::uint64_t cookie) const {
    std::filesystem::path ours{home_};
    for (const std::string& instance : pins_in(ours.parent_path())) {
        if (instance == ours.filename()) continue;
        auto pods = pods_in(ours.parent_path() / instance);
        if (std::find(pods.begin(), pods.end(), cookie) != pods.end()) return instance;
    }
    return {};
}

std::vector<std::string> Pins::olds() const {
    std::vector<std::string> homes;
    for (const std::string& name : pins_in(home_))
        if (is_old(name)) homes.push_back(path(name));
    return homes;
}

bool Pins::olds_have(std::uint64_t cookie) const {
    auto all = olds();
    return std::any_of(all.begin(), all.end(), [&](const std::string& old) {
        return ::access((old + "/pods/" + std::to_string(cookie)).c_str(), F_OK) == 0;
    });
}

Result<> Pins::set_aside() {
    std::string aside;
    for (int n = 0;; ++n) {
        aside = path(std::string{old_prefix} + std::to_string(n));
        if (::mkdir(aside.c_str(), 0700) == 0) break;
        if (errno != EEXIST) return base::errno_while("make directory " + aside);
    }
    // The schema first: a daemon that runs reads off its place that it is being replaced, and repairs nothing more.
    // Then all of it until nothing is left, for what it may just have repaired.
    std::vector<std::string> moving{"cv_schema"};
    for (; !moving.empty(); moving = to_set_aside(home_)) {
        for (const std::string& name : moving) {
            std::string to = aside + "/" + name;
            if (::access(to.c_str(), F_OK) == 0) {  // moved before
                if (::unlink(path(name).c_str()) != 0) remove_tree(path(name));
                continue;
            }
            if (::rename(path(name).c_str(), to.c_str()) != 0 && errno != ENOENT)
                return base::errno_while("set aside " + path(name));
        }
    }
    if (auto made = make_directory(path("pods")); !made) return made;
    say_alive();
    return {};
}

void Pins::remove() noexcept {
    remove_tree(home_);
    ::rmdir(std::filesystem::path{home_}.parent_path().c_str());  // the last instance turns off the light
}

void Pins::remove_if_unused() {
    alive_.reset();
    Fd pods = open_directory(path("pods"));
    if (pods && ::flock(pods.get(), LOCK_EX | LOCK_NB) == 0 && this->pods().empty() && olds().empty()) remove();
}

bool restore_pin(int object, const std::string& path) {
    if (::access(path.c_str(), F_OK) == 0) return false;
    (void)make_directory(std::filesystem::path{path}.parent_path());
    return bool(pin(object, path));
}

namespace {

// What bpf_link_info says of every kind of link that we have. linux/bpf.h of Debian 12 does not know TCX; its part of
// the union begins, like the netns one's, with the number of what it is attached to.
struct LinkState {
    std::uint32_t program = 0;
    std::uint64_t target = 0;
};

LinkState state_of(int link) {
    bpf_link_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(link, &info, &size) != 0) return {};
    return {info.prog_id, info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.cgroup_id : info.netns.netns_ino};
}

}

bool is_attached(int link) {
    return state_of(link).target != 0;
}

bool runs(int link, int program) {
    bpf_prog_info info{};
    __u32 size = sizeof info;
    LinkState state = state_of(link);
    return state.target != 0 && bpf_obj_get_info_by_fd(program, &info, &size) == 0 && info.id == state.program;
}

std::uint32_t netns_of_link(int link) {
    bpf_link_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(link, &info, &size) != 0 || info.type != BPF_LINK_TYPE_NETNS) return 0;
    return info.netns.netns_ino;
}

bool swap_program(int link, int program) noexcept {
    return bpf_link_update(link, program, nullptr) == 0;
}

}
