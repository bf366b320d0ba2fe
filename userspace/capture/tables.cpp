// SPDX-License-Identifier: Apache-2.0
#include "tables.hpp"

#include <sys/socket.h>

#include <cstdlib>
#include <sstream>

#include "command.hpp"

namespace culvert::capture {

using base::Result;

namespace {

std::vector<std::string> environment(const std::string& lock) {
    return {"LC_ALL=C", "PATH=/usr/sbin:/sbin:/usr/bin:/bin", "XTABLES_LOCKFILE=" + lock};
}

constexpr const char* missing = " is not on this machine; install Debian's package iptables";

bool node_has_legacy_rules() {
    for (const char* name : {"iptables-legacy-save", "ip6tables-legacy-save"}) {
        std::string program = find_program(name);
        if (program.empty()) continue;
        auto saved = run({.words = {program}});
        if (!saved) continue;
        std::istringstream lines{*saved};
        for (std::string line; std::getline(lines, line);)
            // Our own say nothing about the rest of the node.
            if (line.starts_with("-A ") && line.find("ISTIO_POSTRT") == std::string::npos) return true;
    }
    return false;
}

}

Tables Tables::of(std::string kind, const std::string& lock) {
    Tables tables;
    tables.kind_ = std::move(kind);
    tables.lock_ = lock;
    return tables;
}

std::vector<Tables> Tables::all(const std::string& lock) {
    std::vector<Tables> found;
    for (const char* kind : {"-nft", "-legacy"})
        if (Tables one = of(kind, lock); !find_program(one.program(AF_INET, "restore")).empty()) found.push_back(one);
    if (found.empty()) found.push_back(of("", lock));
    return found;
}

Result<Tables> Tables::choose(const std::string& lock) {
    std::string kind;
    const char* forced = std::getenv("FORCE_IPTABLES_BINARY");
    if (forced && *forced != '\0') {
        kind = std::string{"-"} + forced;
        if (kind != "-legacy" && kind != "-nft")
            return base::problem(std::string{"FORCE_IPTABLES_BINARY is \""} + forced + "\", not legacy or nft");
    } else if (node_has_legacy_rules()) {
        kind = "-legacy";
    } else if (!find_program("iptables-nft-restore").empty()) {
        kind = "-nft";
    }
    Tables tables = of(kind, lock);
    for (const char* action : {"save", "restore"})
        if (std::string name = tables.program(AF_INET, action); find_program(name).empty())
            return base::problem(name + missing);
    return tables;
}

std::string Tables::program(int family, const char* action) const {
    return (family == AF_INET ? "iptables" : "ip6tables") + kind_ + "-" + action;
}

Result<std::string> Tables::save(int family) const {
    std::string path = find_program(program(family, "save"));
    if (path.empty()) return base::problem(program(family, "save") + missing);
    return run({.words = {path}, .environment = environment(lock_)});
}

Result<> Tables::restore(int family, const std::string& text) const {
    std::string path = find_program(program(family, "restore"));
    if (path.empty()) return base::problem(program(family, "restore") + missing);
    auto done = run({.words = {path, "--noflush", "-w", "5"}, .input = text, .environment = environment(lock_)});
    if (done) return {};
    if (family == AF_INET) return done.error();
    return base::problem(done.error().to_string() +
                         " (the pod has IPv6: load ip6table_nat, or set net.ipv6.conf.all.disable_ipv6=1 in it)");
}

}
