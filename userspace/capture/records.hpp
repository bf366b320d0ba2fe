// SPDX-License-Identifier: Apache-2.0
// Which pods have rules of ours, as files that survive a daemon: /run/culvert/<instance>/iptables/<netns inode>.
// Rules in a namespace that has no record are somebody else's, istio-cni's say, and are never touched.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

// A network namespace so that one which came later is not mistaken for it: inodes come again, cookies do not.
struct NetnsName {
    std::uint32_t inode = 0;
    std::uint64_t cookie = 0;
    friend bool operator==(const NetnsName&, const NetnsName&) = default;
};

base::Result<NetnsName> name_of(int netns);
base::Fd find_netns(const NetnsName& name);  // empty where it is gone

struct Record {
    NetnsName netns;
    NetnsName node;  // where its addresses are in the probes' sets
    std::string uid;
    std::string name;
    std::string tables;  // kind of iptables that put the rules in
    std::vector<std::string> addresses;
};

// A file that says of a node's namespace that the probes' set of this family was made by a culvertd.
std::string probe_mark(const NetnsName& node, int family);
void forget_probe_marks(const NetnsName& node) noexcept;

// One instance's records, and the lock that only one daemon (or cleanup) at a time may hold.
class Records {
public:
    static base::Result<Records> open(const std::string& instance);
    static bool exist(const std::string& instance);
    static bool home_exists(const std::string& instance);

    base::Result<> put(const Record& record);
    void remove(const NetnsName& netns) noexcept;
    std::vector<Record> all() const;
    // The other instance that has this namespace; empty when none.
    std::string other_owner(const NetnsName& netns) const;

    // For iptables' own lock.
    std::string lock_file() const { return home_ + "/xtables.lock"; }
    // The directories go; what others put into them stays.
    void remove_home() noexcept;

private:
    Records(std::string home, base::Fd lock) : home_{std::move(home)}, lock_{std::move(lock)} {}
    std::string file(const NetnsName& netns) const { return home_ + "/iptables/" + std::to_string(netns.inode); }

    std::string home_;
    base::Fd lock_;
};

// As the file's text, one "word value" a line.
std::string to_text(const Record& record);
Record to_record(const std::string& text);

}
