// SPDX-License-Identifier: Apache-2.0
#include "istio_rules.hpp"

#include <sstream>
#include <stdexcept>

#include "process.hpp"

namespace culvert::test {
namespace {

const std::vector<std::string> mark_rule{"fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100"};

std::string program(Family family, Iptables kind, const std::string& action) {
    return std::string{family == Family::v4 ? "iptables" : "ip6tables"} + (kind == Iptables::nft ? "-nft" : "-legacy") +
           action;
}

std::string ip_option(Family family) {
    return family == Family::v4 ? "-4" : "-6";
}

std::vector<std::string> ip_rule(Family family, const std::string& verb) {
    std::vector<std::string> command{"ip", ip_option(family), "rule", verb};
    command.insert(command.end(), mark_rule.begin(), mark_rule.end());
    return command;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream split{text};
    for (std::string line; std::getline(split, line);) lines.push_back(line);
    return lines;
}

}

void write_istio_rules(const Pod& pod, Iptables kind) {
    for (Family family : {Family::v4, Family::v6}) {
        must({"ip", ip_option(family), "route", "replace", "local", "default", "dev", "lo", "table", "100"},
             pod.netns());
        must(ip_rule(family, "add"), pod.netns());
        const std::string recorded = family == Family::v4 ? "/iptables" : "/ip6tables";
        must({program(family, kind, "-restore"), "--noflush", CULVERT_SOURCE_DIR "/tests/support/istio_cni" + recorded},
             pod.netns());
    }
}

void remove_istio_rules(const Pod& pod, Iptables kind) {
    for (Family family : {Family::v4, Family::v6}) {
        for (const char* table : {"mangle", "nat", "raw"})
            for (const char* all : {"-F", "-X"}) must({program(family, kind, ""), "-t", table, all}, pod.netns());
        must(ip_rule(family, "del"), pod.netns());
        must({"ip", ip_option(family), "route", "flush", "table", "100"}, pod.netns());
    }
}

std::vector<std::string> istio_rules_in(const Pod& pod, Iptables kind) {
    std::vector<std::string> found;
    for (Family family : {Family::v4, Family::v6}) {
        for (const std::string& line : lines_of(must({program(family, kind, "-save")}, pod.netns())))
            if (line.starts_with("-A ")) found.push_back(line);
        for (const std::string& line : lines_of(must({"ip", ip_option(family), "rule"}, pod.netns())))
            if (line.starts_with("32764:")) found.push_back(line);
        for (const std::string& line :
             lines_of(must({"ip", ip_option(family), "route", "show", "table", "100"}, pod.netns())))
            found.push_back(line);
    }
    return found;
}

unsigned long met(const Pod& pod, Family family, const std::string& chain, const std::string& end) {
    for (const std::string& line :
         lines_of(must({program(family, Iptables::nft, "-save"), "-c", "-t", "nat"}, pod.netns())))
        if (line.find(" -A " + chain + " ") != std::string::npos ||
            line.find("]-A " + chain + " ") != std::string::npos)
            if (line.ends_with(end)) return std::stoul(line.substr(1));
    throw std::runtime_error("no rule of " + chain + " ends with " + end);
}

IpAddress IstioProbes::seen_from(Family family) {
    return *IpAddress::parse(family == Family::v4 ? "169.254.7.127" : "fd16:9254:7127:1337:ffff:ffff:ffff:ffff");
}

IstioProbes::IstioProbes(const Lab& lab, const std::vector<const Pod*>& pods) : netns_{lab.node_netns(1)} {
    for (Family family : {Family::v4, Family::v6})
        for (const Pod* pod : pods)
            rules_.push_back({program(family, Iptables::nft, ""), "-t", "nat", "-I", "POSTROUTING", "-p", "tcp", "-m",
                              "owner", "--socket-exists", "-d", pod->ip(family).to_string(), "-j", "SNAT",
                              "--to-source", seen_from(family).to_string()});
    for (const auto& rule : rules_) must(rule, netns_);
}

IstioProbes::~IstioProbes() {
    for (auto rule : rules_) {
        rule[3] = "-D";
        run(rule, netns_);
    }
}

}
