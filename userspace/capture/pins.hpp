// SPDX-License-Identifier: Apache-2.0
// What survives a daemon, as files: <bpffs>/culvert/<instance>/
//
//   cv_*                      the shared maps
//   sockops                   the link of cv_sockops to the cgroup root
//   pods/<netns cookie>/      lookup, guard_in_<ifindex>, guard_out_<ifindex>: links in one pod
//   old_<n>/                  all of the above, left by a daemon with another schema
//
// For every schema version hold: the names above, that cv_pods is keyed by the netns cookie, the row of cv_schema, and
// the maps cv_own_socks, cv_listen_socks and cv_legs, which all versions share.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

// Pins and gets by path; plain words around bpf(2).
base::Result<> pin(int object, const std::string& path);
base::Fd pinned(const std::string& path);  // empty when there is none
void unpin(const std::string& path);       // no such pin is fine
std::vector<std::string> pins_in(const std::string& directory);
base::Result<> make_directory(const std::string& path);
void remove_tree(const std::string& directory);

// Pins again what was unpinned; the directories above it too. False when it was there, or cannot be pinned.
bool restore_pin(int object, const std::string& path);

// What a link of ours is doing: whether it is attached to anything still, and whether it runs this program.
bool is_attached(int link);
bool runs(int link, int program);  // attached, and runs it

// Puts the program where the pinned link is, atomically; without a live link there, calls attach and pins its link.
template <class Attach>
base::Result<base::Fd> replace_or_attach(const std::string& path, int program, Attach attach);

// One instance's directory, and the lock that only one daemon (or cleanup) at a time may hold.
class Pins {
public:
    // Makes the directory. When another process holds it: fails, or goes on without the lock if it may share.
    static base::Result<Pins> open(const std::string& bpffs, const std::string& instance, bool may_share = false);
    // Whether a daemon of the instance lives.
    static bool are_held(const std::string& bpffs, const std::string& instance);
    static bool exists(const std::string& bpffs, const std::string& instance);

    const std::string& home() const noexcept { return home_; }
    std::string path(const std::string& name) const { return home_ + "/" + name; }
    std::string pod(std::uint64_t cookie) const { return path("pods/" + std::to_string(cookie)); }
    std::vector<std::uint64_t> pods() const;
    // The other instance that has this pod; empty when none.
    std::string other_owner(std::uint64_t cookie) const;

    // Homes of earlier schemas, oldest first.
    std::vector<std::string> olds() const;
    bool olds_have(std::uint64_t cookie) const;
    // Moves what is there, but for the shared maps, into a new old_<n>; nothing in the kernel notices.
    base::Result<> set_aside();
    bool locked() const noexcept { return bool(lock_); }
    // Makes the directory anew when somebody removed it, and takes the lock when it has none and it is free.
    void restore();
    // The directory itself goes, with whatever is still in it.
    void remove() noexcept;
    // The same, unless another daemon of the instance lives, or has left a pod.
    void remove_if_unused();

private:
    Pins(std::string home, base::Fd lock) : home_{std::move(home)}, lock_{std::move(lock)} {}
    void say_alive();
    std::string home_;
    base::Fd lock_;   // of the directory: one daemon's
    base::Fd alive_;  // of pods/: shared by all that live
};

std::vector<std::uint64_t> pods_in(const std::string& home);

// Inode of the netns that a pinned netns link is attached to; 0 when that netns is gone.
std::uint32_t netns_of_link(int link);

bool swap_program(int link, int program) noexcept;

template <class Attach>
base::Result<base::Fd> replace_or_attach(const std::string& path, int program, Attach attach) {
    if (base::Fd link = pinned(path)) {
        if (is_attached(link.get()) && swap_program(link.get(), program)) return link;
        unpin(path);  // what it was attached to is gone
    }
    base::Result<base::Fd> link = attach();
    if (!link) return link;
    if (auto done = pin(link->get(), path); !done) return done.error();
    return link;
}

}
