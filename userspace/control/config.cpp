// SPDX-License-Identifier: Apache-2.0
#include <culvert/control/config.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <limits>

#include <fmt/format.h>

#include <culvert/base/fd.hpp>
#include <culvert/base/file.hpp>

#include "schema.hpp"

namespace culvert::control {

using namespace yaml;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t int_max = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t any_size = std::numeric_limits<std::size_t>::max();

// It becomes a folder's name, under which capture keeps its pins.
bool is_node_name(const std::string& word) {
    const auto fits = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; };
    return word.size() <= 253 && word[0] != '-' && word[0] != '.' && std::all_of(word.begin(), word.end(), fits);
}

Reader node_name(std::string& into) {
    constexpr std::string_view what = "this node's name";
    return {std::string{what}, [&into, what](const Cursor& at) {
                into = at.text(what);
                if (into.empty()) at.expected(what);
                if (!is_node_name(into)) at.expected("letters, digits, -, _ and dots, with neither - nor . in front");
            }};
}

Reader node(NodeSettings& into, state::Exclusions& excluded) {
    return section([&into, &excluded](const Cursor& at) {
        at.fields({{"name", node_name(into.name), required},
                   {"network", text(into.network)},
                   {"clusterId", name(into.cluster_id, "a cluster's name")},
                   {"trustDomain", name(into.trust_domain, "a trust domain such as cluster.local")},
                   {"netns", name(into.netns, "the path of the node's network namespace")},
                   {"exclude", exclude(excluded)}});
    });
}

Reader capture(CaptureMode& into) {
    constexpr std::string_view what = "ebpf or iptables";
    return {std::string{what}, [&into, what](const Cursor& at) {
                const std::string& word = at.text(what);
                if (word != "ebpf" && word != "iptables") at.expected(what);
                into = word == "ebpf" ? CaptureMode::ebpf : CaptureMode::iptables;
            }};
}

// Leaf certificates start two minutes in the past and are renewed at half their life.
Reader ca(CaSettings& into) {
    return section([&into](const Cursor& at) {
        std::string directory;
        at.fields({{"directory", name(directory, "a directory")},
                   {"certificate", name(into.certificate, "a file")},
                   {"key", name(into.key, "a file")},
                   {"crl", name(into.crl, "a file")},
                   {"ttl", duration(into.ttl, 1s)}});
        bool has_files = !into.certificate.empty() || !into.key.empty();
        if (has_files && !directory.empty())
            at.at("directory").refuse("found beside certificate and key; keep either the directory or the two files");
        if (has_files && (into.certificate.empty() || into.key.empty()))
            at.refuse(fmt::format("found only {}; certificate and key belong together",
                                  into.key.empty() ? "certificate" : "key"));
        if (has_files || !directory.empty()) into.directory = directory;
    });
}

Reader log_format(base::log::Format& into) {
    return {"text or json", [&into](const Cursor& at) {
                const std::string& word = at.text("text or json");
                if (word != "text" && word != "json") at.expected("text or json");
                into = word == "json" ? base::log::Format::json : base::log::Format::text;
            }};
}

Reader log(LogSettings& into) {
    return section([&into](const Cursor& at) {
        using enum base::log::Level;
        at.fields({{"level", choice(into.level, {debug, info, warn, error, off})},
                   {"format", log_format(into.format)},
                   {"access", name(into.access, "stdout or a file")}});
    });
}

Reader door(std::optional<base::SocketAddress>& into) {
    constexpr std::string_view what = R"(an address and port such as "[::]:15020", or "" for no door)";
    return {std::string{what}, [&into, what](const Cursor& at) {
                into = base::SocketAddress::parse(at.text(what));
                if (!into && !at.text(what).empty()) at.expected(what);
            }};
}

// Whoever gets in may end us.
Reader loopback_door(std::optional<base::SocketAddress>& into) {
    constexpr std::string_view what = R"(a loopback address and port such as "127.0.0.1:15000", or "" for no door)";
    return {std::string{what}, [&into, what](const Cursor& at) {
                into = base::SocketAddress::parse(at.text(what));
                const bool good = into ? into->ip.is_loopback() : at.text(what).empty();
                if (!good) at.expected(what);
            }};
}

Reader local_door(std::optional<std::string>& into) {
    constexpr std::string_view what = R"(the absolute path of a unix socket, or "" for no door)";
    return {std::string{what}, [&into, what](const Cursor& at) {
                into = at.text(what);
                bool fits = into->size() < 104 && into->find('\0') == std::string::npos;
                if (!into->empty() && (!into->starts_with('/') || into->ends_with('/') || !fits)) at.expected(what);
            }};
}

Reader dns(DnsSettings& into) {
    constexpr std::string_view what = "true, false or a mapping";
    return {std::string{what}, [&into, what](const Cursor& at) {
                if (!at.is_mapping()) {
                    if (at.text(what) != "true" && at.text(what) != "false") at.expected(what);
                    return flag(into.on).read(at);
                }
                into.on = true;
                at.fields({{"resolvConf", name(into.resolv_conf, "a file")},
                           {"clusterDomain", name(into.cluster_domain, "a domain such as cluster.local")},
                           {"preferredNamespace", name(into.preferred_namespace, "a namespace")}});
            }};
}

Reader limits(LimitSettings& into) {
    return section([&into](const Cursor& at) {
        at.fields({{"maxPods", number(into.max_pods, 1, int_max)},
                   {"maxFlows", number(into.max_flows, 1, int_max)},
                   {"maxConnectionsPerWorker", number(into.max_connections_per_worker, 1, int_max)},
                   {"maxHandshakesPerWorker", number(into.max_handshakes_per_worker, 1, int_max)},
                   {"maxHandshakesPerSource", number(into.max_handshakes_per_source, 1, int_max)},
                   {"maxTunnelsPerPod", number(into.max_tunnels_per_pod, 1, int_max)},
                   {"maxTunnelsPerSource", number(into.max_tunnels_per_source, 1, int_max)},
                   {"maxTunnelsPerPeer", number(into.max_tunnels_per_peer, 1, int_max)},
                   {"maxStreamsPerTunnel", number(into.max_streams_per_tunnel, 1, 10'000)},
                   {"maxHeaderBytes", number(into.max_header_bytes, 1024, 1 << 20)},
                   {"controlFramesPerSecond", number(into.control_frames_per_second, 10, 1'000'000)},
                   {"handshakeTimeout", duration(into.handshake_timeout)},
                   {"connectTimeout", duration(into.connect_timeout)}});
    });
}

// The kernel's own bounds of TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT.
Reader keepalive(base::KeepAlive& into) {
    return section([&into](const Cursor& at) {
        constexpr std::string_view bound = "whole seconds up to 32767s";
        auto seconds = [bound](int& to) {
            return Reader{std::string{bound}, [&to, bound](const Cursor& value) {
                              std::chrono::milliseconds time{};
                              duration(time, 1s).read(value);
                              if (time % 1s != 0s || time > 32767s) value.expected(bound);
                              to = static_cast<int>(time / 1s);
                          }};
        };
        std::uint32_t retries = static_cast<std::uint32_t>(into.retries);
        std::chrono::milliseconds user_timeout{into.user_timeout_ms};
        at.fields({{"time", seconds(into.idle_s)},
                   {"interval", seconds(into.interval_s)},
                   {"retries", number(retries, 1, 127)},
                   {"userTimeout", duration(user_timeout, 0ms)}});
        if (user_timeout.count() > int_max) at.at("userTimeout").expected("not more than 596h");
        into.retries = static_cast<int>(retries);
        into.user_timeout_ms = static_cast<int>(user_timeout.count());
    });
}

// As the kernel takes it (dev_valid_name), and as both kinds of rules can say it.
Reader interface(std::string& into) {
    constexpr std::string_view what = "an interface's name of at most 15 letters";
    return {std::string{what}, [&into, what](const Cursor& at) {
                into = at.text(what);
                bool odd = std::ranges::any_of(into, [](unsigned char c) { return c <= ' ' || c == '/' || c == '+'; });
                if (into.empty() || into.size() > 15 || into == "lo" || into == "." || into == ".." || odd)
                    at.expected(what);
            }};
}

// As many as a row of cv_pods has room for.
constexpr std::size_t most_virtual_interfaces = 8;

Reader virtual_interfaces(std::vector<std::string>& into) {
    Reader all = list(into, interface);
    return {all.expected, [&into, all](const Cursor& at) {
                all.read(at);
                if (into.size() > most_virtual_interfaces)
                    at.expected(fmt::format("at most {} interfaces", most_virtual_interfaces));
            }};
}

Reader own_dns(std::optional<bool>& into) {
    return {"true or false", [&into](const Cursor& at) { flag(into.emplace()).read(at); }};
}

Reader pod(Pod& into) {
    return section([&into](const Cursor& at) {
        at.fields({{"uid", name(into.uid, "the uid of the pod's workload"), required},
                   {"name", name(into.name, "the pod's name"), required},
                   {"namespace", name(into.identity.namespace_, "the pod's namespace"), required},
                   {"serviceAccount", name(into.identity.service_account, "the pod's service account"), required},
                   {"netns", name(into.netns, "the path of the pod's network namespace"), required},
                   {"virtualInterfaces", virtual_interfaces(into.virtual_interfaces)},
                   {"exclude", exclude(into.exclude)},
                   {"dns", own_dns(into.dns)}});
    });
}

Reader unknown_policy(std::optional<policy::Unknown>& into) {
    return {"deny or allow", [&into](const Cursor& at) {
                using enum policy::Unknown;
                choice(into.emplace(), {deny, allow}).read(at);
            }};
}

void read_all(Draft& draft, const Cursor& root) {
    Config& c = draft.config;
    auto shutdown = [&c](const Cursor& at) { at.fields({{"deadline", duration(c.shutdown_deadline, 0ms)}}); };
    auto doors = [&c](const Cursor& at) {
        at.fields({{"metrics", door(c.doors.metrics)},
                   {"ready", door(c.doors.ready)},
                   {"admin", loopback_door(c.doors.admin)},
                   {"control", local_door(c.doors.control)}});
    };
    root.fields({{"node", node(c.node, draft.exclude), required},
                 {"capture", capture(c.capture)},
                 {"ca", ca(c.ca)},
                 {"log", log(c.log)},
                 {"workers", number(c.workers, 0, 1024)},
                 {"shutdown", section(shutdown)},
                 {"doors", section(doors)},
                 {"dns", dns(c.dns)},
                 {"limits", limits(c.limits)},
                 {"keepalive", keepalive(c.keepalive)},
                 {"pods", list(c.pods, pod, &draft.pods)},
                 {"workloads", list(c.workloads, workload, &draft.workloads)},
                 {"services", list(c.services, service, &draft.services)},
                 {"policies", list(c.policies, policy, &draft.policies)},
                 {"unknownPolicy", unknown_policy(c.unknown_policy)}});
    if (c.pods.size() > c.limits.max_pods)
        root.at("pods").refuse(
            fmt::format("found {} pods, but limits.maxPods is {}; raise it", c.pods.size(), c.limits.max_pods));
}

// The library repeats what it met, whatever that was.
std::string printable(std::string text) {
    std::ranges::replace_if(
        text, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
    return text;
}

Config parse(const std::string& text, const std::string& file) {
    if (auto documents = count_documents(text, 2); documents != 1)
        throw Refused{fmt::format("{}:1: found {} YAML documents, expected one", file, documents)};
    Draft draft;
    read_all(draft, Cursor{file, YAML::Load(text)});
    bring_together(draft);
    return std::move(draft.config);
}

}

base::Result<Config> parse_config(const std::string& text, const std::string& file) {
    try {
        return parse(text, file);
    } catch (const Refused& refused) {
        return base::problem(refused.text);
    } catch (const YAML::Exception& error) {
        return base::problem(fmt::format("{}:{}: not YAML: {}", file, error.mark.line + 1, printable(error.msg)));
    } catch (const std::exception& error) {
        return base::problem(fmt::format("{}: cannot be read: {}", file, error.what()));
    }
}

base::Result<Config> load_config(const std::string& file) {
    base::Fd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd) return base::errno_while("read " + file);
    auto text = base::read_to_end(fd.get(), file, any_size);
    if (!text) return text.error();
    return parse_config(*text, file);
}

}
