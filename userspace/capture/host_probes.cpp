// SPDX-License-Identifier: Apache-2.0
#include "host_probes.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include <culvert/base/address.hpp>
#include <culvert/base/netns.hpp>

#include "command.hpp"
#include "rules.hpp"

namespace culvert::capture {

using base::Result;

namespace {

Result<std::string> ipset(std::vector<std::string> words, std::string input = {}) {
    std::string program = find_program("ipset");
    if (program.empty()) return base::problem("ipset is not on this machine; install Debian's package ipset");
    words.insert(words.begin(), program);
    return run({.words = std::move(words), .input = std::move(input), .environment = {"LC_ALL=C"}});
}

bool is_empty(const std::string& saved_set) {
    return saved_set.find("\nadd ") == std::string::npos;
}

// What `ipset restore` can read inside quotes.
std::string as_comment(std::string text) {
    std::erase_if(text, [](unsigned char c) { return c < ' ' || c == '"' || c == '\\'; });
    return text.substr(0, 255);
}

std::vector<std::string> of_family(int family, const std::vector<std::string>& addresses) {
    std::vector<std::string> found;
    for (const std::string& text : addresses)
        if (auto ip = base::IpAddress::parse(text); ip && ip->family() == family) found.push_back(text);
    return found;
}

// The kernel lets go of a set some time after the rule that used it has gone.
Result<> destroy(std::string_view set) {
    using namespace std::chrono_literals;
    for (int tries = 40;; --tries) {
        auto gone = ipset({"destroy", std::string{set}});
        if (gone) return {};
        if (tries == 0) return gone.error();
        std::this_thread::sleep_for(25ms);
    }
}

}

Result<> HostProbes::check() {
    if (auto asked = ipset({"version"}); !asked) return asked.error();
    return {};
}

Result<> HostProbes::put_rule(int family) {
    auto saved = tables_.save(family);
    if (!saved) return saved.error();
    std::string wanted = node_rules(family);
    if (holds(*saved, wanted, Place::node) && comes_first(*saved)) return {};
    if (std::string old = without_chains(*saved, Place::node); !old.empty())
        if (auto done = tables_.restore(family, old); !done) return done;
    return tables_.restore(family, wanted);
}

Result<> HostProbes::add_here(int family, const std::vector<std::string>& addresses, const std::string& uid) {
    std::string_view set = probe_set(family);
    if (!ipset({"list", "-t", std::string{set}}))
        base::Fd{::open(probe_mark(name_, family).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)};
    std::string text = fmt::format("create {} hash:ip family {} comment\n", set, family == AF_INET ? "inet" : "inet6");
    for (const std::string& address : addresses)
        text += fmt::format("add {} {} comment \"{}\"\n", set, address, as_comment(uid));
    if (auto done = ipset({"-exist", "restore"}, text); !done) return done.error();
    return put_rule(family);
}

Result<> HostProbes::add(const std::vector<std::string>& addresses, const std::string& uid) {
    for (int family : {AF_INET, AF_INET6}) {
        auto these = of_family(family, addresses);
        if (these.empty()) continue;
        if (auto done = base::in_netns(node_, [&] { return add_here(family, these, uid); }); !done)
            return base::problem("let probes through from the node: " + done.error().to_string());
    }
    return {};
}

Result<> HostProbes::remove_here(int family, const std::vector<std::string>& addresses) {
    std::string set{probe_set(family)};
    std::string mark = probe_mark(name_, family);
    auto before = ipset({"save", set});
    if (!before) {  // no such set
        ::unlink(mark.c_str());
        return {};
    }
    std::string text;
    for (const std::string& address : addresses) text += fmt::format("del {} {}\n", set, address);
    if (auto done = ipset({"-exist", "restore"}, text); !done) return done.error();
    auto after = ipset({"save", set});
    if (!after) return after.error();
    if (!is_empty(*after) || ::access(mark.c_str(), F_OK) != 0) return {};
    // Of any kind: the node may have changed its own since, and each rule holds the set.
    for (const Tables& tables : Tables::all(tables_.lock())) {
        auto saved = tables.save(family);
        if (!saved) return saved.error();
        if (std::string old = without_chains(*saved, Place::node); !old.empty())
            if (auto done = tables.restore(family, old); !done) return done;
    }
    if (auto done = destroy(set); !done) return done;
    ::unlink(mark.c_str());
    return {};
}

Result<> HostProbes::remove(const std::vector<std::string>& addresses) {
    Result<> removed;
    for (int family : {AF_INET, AF_INET6}) {
        auto these = of_family(family, addresses);
        if (these.empty()) continue;
        auto done = base::in_netns(node_, [&] { return remove_here(family, these); });
        if (!done && removed) removed = base::problem("probes' set of the node: " + done.error().to_string());
    }
    return removed;
}

}
