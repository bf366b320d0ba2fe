// SPDX-License-Identifier: Apache-2.0
#include "rules.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

namespace culvert::capture {

namespace {

constexpr std::string_view own = "0x539/0xfff";    // CV_MARK_PROXY / CV_MARK_MASK
constexpr std::string_view reply = "0x111/0xfff";  // CV_MARK_LOOP / CV_MARK_MASK
static_assert(CV_MARK_PROXY == 0x539 && CV_MARK_LOOP == 0x111 && CV_MARK_MASK == 0xfff);

constexpr std::string_view guard_name = "culvert-guard";

std::vector<std::string_view> chains_of(Place place) {
    if (place == Place::node) return {"ISTIO_POSTRT"};
    return {"ISTIO_PRERT", "ISTIO_OUTPUT"};
}

std::string_view loopback(int family) {
    return family == AF_INET ? "127.0.0.1/32" : "::1/128";
}

std::string_view one_address(int family) {
    return family == AF_INET ? "/32" : "/128";
}

// The part of a saved table that concerns us, in its order.
struct Table {
    std::string name;
    std::vector<std::string> chains;
    std::vector<std::string> hooks;  // rules of the kernel's chains that jump to one of ours
    std::vector<std::string> rules;  // of our chains
    std::vector<std::string> guards;

    bool ours() const { return !chains.empty() || !hooks.empty() || !rules.empty(); }
};

std::string word(const std::string& line, int index) {
    std::istringstream words{line};
    std::string found;
    for (int i = 0; i <= index; ++i) words >> found;
    return words ? found : "";
}

std::vector<Table> read(const std::string& text, Place place) {
    std::vector<Table> tables;
    const auto chains = chains_of(place);
    auto is_ours = [&chains](const std::string& chain) { return std::ranges::find(chains, chain) != chains.end(); };
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with('*')) tables.push_back({line.substr(1), {}, {}, {}, {}});
        if (tables.empty()) continue;
        Table& table = tables.back();
        if (line.starts_with(':')) {
            std::string chain = word(line, 0).substr(1);
            if (is_ours(chain)) table.chains.push_back(chain);
        } else if (line.starts_with("-A ")) {
            bool jumps = std::ranges::any_of(
                chains, [&](std::string_view chain) { return line.ends_with(fmt::format(" -j {}", chain)); });
            if (is_ours(word(line, 1)))
                table.rules.push_back(line);
            else if (jumps)
                table.hooks.push_back(line);
            else if (line.find(guard_name) != std::string::npos)
                table.guards.push_back(line);
        }
    }
    std::erase_if(tables, [](const Table& table) { return !table.ours() && table.guards.empty(); });
    std::ranges::sort(tables, {}, &Table::name);
    for (Table& table : tables) {
        std::ranges::sort(table.chains);
        // Rules count in their order within a chain; of the chains' order, iptables-save promises nothing.
        std::ranges::stable_sort(table.rules, {}, [](const std::string& line) { return word(line, 1); });
        std::ranges::sort(table.hooks);
    }
    return tables;
}

std::string deletion(const std::string& rule) {
    return "-D" + rule.substr(2) + "\n";
}

std::string in_table(const std::string& name, const std::string& lines) {
    return "*" + name + "\n" + lines + "COMMIT\n";
}

}

std::string pod_rules(int family, const RulesOfPod& pod) {
    std::string_view local = loopback(family), bits = one_address(family), probe = probe_source(family);
    constexpr std::string_view head =
        ":ISTIO_PRERT - [0:0]\n:ISTIO_OUTPUT - [0:0]\n"
        "-A PREROUTING -j ISTIO_PRERT\n-A OUTPUT -j ISTIO_OUTPUT\n";
    std::string mangle{head};
    // M1: a leg of ours to the app, with its client's address, goes round lo. M2: so its answer does, too.
    mangle += fmt::format("-A ISTIO_PRERT -m mark --mark {} -j CONNMARK --set-xmark {}\n", own, reply);
    mangle += fmt::format(
        "-A ISTIO_OUTPUT -m connmark --mark {} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\n",
        reply);

    std::string nat{head};
    // V1, V2: a VM's or nested container's traffic comes in by its interface, and is the pod's outbound.
    for (const std::string& interface : pod.virtual_interfaces)
        nat += fmt::format(
            "-A ISTIO_PRERT -i {0} -p tcp -j REDIRECT --to-ports {1}\n-A ISTIO_PRERT -i {0} -p tcp -j RETURN\n",
            interface, outbound_port);
    // X1: what the pod excludes is the app's own business.
    for (unsigned port : pod.exclusions.inbound_ports)
        nat += fmt::format("-A ISTIO_PRERT -p tcp -m tcp --dport {} -j ACCEPT\n", port);
    // P1: probes pass. I1: all else to us, but tunnels are there already.
    nat += fmt::format("-A ISTIO_PRERT -s {}{} -p tcp -j ACCEPT\n", probe, bits);
    nat +=
        fmt::format("-A ISTIO_PRERT ! -d {} -p tcp -m tcp ! --dport {} -m mark ! --mark {} -j REDIRECT --to-ports {}\n",
                    local, tunnel_port, own, inbound_plain_port);
    // P2, O1, O2: answers to probes, answers to our legs, what a pod says to itself. X2: what it excludes. O3: all else
    // to us.
    nat += fmt::format("-A ISTIO_OUTPUT -d {}{} -p tcp -j ACCEPT\n", probe, bits);
    // D1, D2: questions to nameservers, but our own and those that do not leave the pod.
    if (pod.dns)
        nat += fmt::format(
            "-A ISTIO_OUTPUT ! -o lo -p udp -m mark ! --mark {0} -m udp --dport {1} -j REDIRECT --to-ports {2}\n"
            "-A ISTIO_OUTPUT ! -d {3} -p tcp -m tcp --dport {1} -m mark ! --mark {0} -j REDIRECT --to-ports {2}\n",
            own, CV_DNS_PORT, dns_port, local);
    nat += fmt::format("-A ISTIO_OUTPUT -p tcp -m mark --mark {} -j ACCEPT\n", reply);
    nat += fmt::format("-A ISTIO_OUTPUT ! -d {} -o lo -j ACCEPT\n", local);
    for (unsigned port : pod.exclusions.outbound_ports)
        nat += fmt::format("-A ISTIO_OUTPUT -p tcp -m tcp --dport {} -j ACCEPT\n", port);
    for (const state::Cidr& range : pod.exclusions.outbound_cidrs)
        if (range.ip.family() == family)
            nat += fmt::format("-A ISTIO_OUTPUT -d {} -p tcp -j ACCEPT\n", range.to_string());
    nat += fmt::format("-A ISTIO_OUTPUT ! -d {} -p tcp -m mark ! --mark {} -j REDIRECT --to-ports {}\n", local, own,
                       outbound_port);
    std::string text = in_table("mangle", mangle) + in_table("nat", nat);
    // D3: an app's question and ours to the same nameserver may have the same ports, and must not become one.
    if (pod.dns)
        text +=
            in_table("raw", fmt::format("{}-A ISTIO_OUTPUT -p udp -m mark --mark {} -m udp --dport {} -j CT --zone 1\n"
                                        "-A ISTIO_PRERT -p udp -m mark ! --mark {} -m udp --sport {} -j CT --zone 1\n",
                                        head, own, CV_DNS_PORT, own, CV_DNS_PORT));
    return text;
}

std::string node_rules(int family) {
    // First in its chain: a CNI's masquerading must not win. Forwarded packets have no socket here, hence no match.
    return in_table("nat",
                    fmt::format(":ISTIO_POSTRT - [0:0]\n-I POSTROUTING 1 -j ISTIO_POSTRT\n"
                                "-A ISTIO_POSTRT -p tcp -m owner --socket-exists -m set --match-set {} dst -j SNAT "
                                "--to-source {}\n",
                                probe_set(family), probe_source(family)));
}

std::string_view probe_set(int family) noexcept {
    return family == AF_INET ? "istio-inpod-probes-v4" : "istio-inpod-probes-v6";
}

std::string_view probe_source(int family) noexcept {
    return family == AF_INET ? "169.254.7.127" : "fd16:9254:7127:1337:ffff:ffff:ffff:ffff";
}

std::string guard_rules() {
    std::string lines;
    for (std::string_view chain : {"INPUT", "FORWARD", "OUTPUT"})
        for (std::string_view protocol : {"tcp", "udp"})
            lines += fmt::format("-I {} 1 -p {} -m comment --comment {} -j DROP\n", chain, protocol, guard_name);
    return in_table("filter", lines);
}

bool holds(const std::string& saved, const std::string& wanted, Place place) {
    std::string appended = wanted;
    // The form of one that is put first, when it is printed.
    if (auto at = appended.find("-I POSTROUTING 1 "); at != std::string::npos)
        appended.replace(at, 17, "-A POSTROUTING ");
    auto have = read(saved, place), want = read(appended, place);
    return std::ranges::equal(have, want, [](const Table& a, const Table& b) {
        return a.name == b.name && a.chains == b.chains && a.hooks == b.hooks && a.rules == b.rules && a.guards.empty();
    });
}

std::string exchange_rules(const std::string& saved, const std::string& wanted) {
    auto have = read(saved, Place::pod), want = read(wanted, Place::pod);
    if (!std::ranges::equal(have, want, [](const Table& a, const Table& b) {
            return a.name == b.name && a.chains == b.chains && a.hooks == b.hooks;
        }))
        return {};  // a guard that was left makes a table more
    std::string text;
    for (std::size_t i = 0; i < want.size(); ++i) {
        const Table& table = want[i];
        if (table.rules == have[i].rules) continue;
        std::string lines;
        for (const std::string& chain : table.chains) lines += "-F " + chain + "\n";
        for (const std::string& rule : table.rules) lines += rule + "\n";
        text += in_table(table.name, lines);
    }
    return text;
}

bool has_traces(const std::string& saved, Place place) {
    return !read(saved, place).empty();
}

bool comes_first(const std::string& saved) {
    constexpr std::string_view start = "-A POSTROUTING ", hook = "-A POSTROUTING -j ISTIO_POSTRT";
    std::istringstream lines{saved};
    bool in_nat = false;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with('*')) in_nat = line == "*nat";
        if (in_nat && line.starts_with(start)) return line == hook;
    }
    return false;
}

std::string unreadable_table(const std::string& saved, const std::string& wanted) {
    std::istringstream lines{wanted};
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with('*')) continue;
        std::string name = line.substr(1);
        if (saved.find(fmt::format("# Table `{}' is incompatible", name)) != std::string::npos) return name;
    }
    return {};
}

std::string without_redirects(const std::string& saved) {
    std::string text;
    for (const Table& table : read(saved, Place::pod)) {
        if (table.name != "nat" || table.hooks.empty()) continue;
        std::string lines;
        for (const std::string& hook : table.hooks) lines += deletion(hook);
        text += in_table(table.name, lines);
    }
    return text;
}

std::string without_chains(const std::string& saved, Place place) {
    std::string text;
    for (const Table& table : read(saved, place)) {
        if (!table.ours()) continue;
        std::string lines;
        for (const std::string& hook : table.hooks) lines += deletion(hook);
        for (const std::string& chain : table.chains) lines += "-F " + chain + "\n";
        for (const std::string& chain : table.chains) lines += "-X " + chain + "\n";
        text += in_table(table.name, lines);
    }
    return text;
}

std::string without_guard(const std::string& saved) {
    std::string text;
    for (const Table& table : read(saved, Place::pod)) {
        if (table.guards.empty()) continue;
        std::string lines;
        for (const std::string& guard : table.guards) lines += deletion(guard);
        text += in_table(table.name, lines);
    }
    return text;
}

}
