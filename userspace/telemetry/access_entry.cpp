// SPDX-License-Identifier: Apache-2.0
// How an entry reads. Order, keys and types mirror ztunnel's access log; tests compare with lines of the real one.
#include <iterator>

#include <culvert/telemetry/access_log.hpp>

namespace culvert::telemetry {
namespace {

using base::log::Format;
using base::log::Level;

void append(fmt::memory_buffer& out, std::string_view text) {
    out.append(text.data(), text.data() + text.size());
}

// One line in the making: key and value pairs after its head.
class Line {
public:
    Line(fmt::memory_buffer& out, Format format) : out_{out}, json_{format == Format::json} {}

    void head(Level level, std::int64_t time_ns, std::string_view message) {
        auto name = base::log::to_string(level);
        if (json_) {
            fmt::format_to(std::back_inserter(out_), R"({{"level":"{}","time":")", name);
            base::log::append_time(out_, time_ns);
            fmt::format_to(std::back_inserter(out_), R"(","scope":"access","message":"{}")", message);
        } else {
            base::log::append_time(out_, time_ns);
            fmt::format_to(std::back_inserter(out_), "\t{}\taccess\t{}", name, message);
        }
    }
    void text(std::string_view key, std::string_view value) {
        name(key);
        base::log::append_quoted(out_, value);
    }
    void text_if_known(std::string_view key, std::string_view value) {
        if (!value.empty()) text(key, value);
    }
    // Bare in text, as what is printed rather than quoted; JSON has no such thing and takes a string.
    void address(std::string_view key, std::string_view value) {
        if (json_) return text(key, value);
        name(key);
        append(out_, value);
    }
    void number(std::string_view key, std::uint64_t value) {
        name(key);
        fmt::format_int digits{value};
        append(out_, {digits.data(), digits.size()});
    }
    void end() { append(out_, json_ ? "}\n" : "\n"); }

private:
    void name(std::string_view key) {
        append(out_, json_ ? ",\"" : first_ ? "\t" : " ");
        append(out_, key);
        append(out_, json_ ? "\":" : "=");
        first_ = false;
    }

    fmt::memory_buffer& out_;
    bool json_;
    bool first_ = true;
};

struct SideKeys {
    std::string_view workload, namespace_, identity, cluster;
};
constexpr SideKeys source_keys{"src.workload", "src.namespace", "src.identity", "src.cluster"};
constexpr SideKeys destination_keys{"dst.workload", "dst.namespace", "dst.identity", "dst.cluster"};

void put_side(Line& line, const SideKeys& keys, const state::Workload* workload,
              const std::optional<state::Identity>& identity) {
    if (workload) {
        line.text_if_known(keys.workload, workload->name.empty() ? workload->canonical_name : workload->name);
        line.text_if_known(keys.namespace_, workload->namespace_);
    }
    if (identity) line.text(keys.identity, identity->to_string());
    if (workload) line.text_if_known(keys.cluster, workload->cluster_id);
}

void put_early(Line& line, const AccessEntry& entry) {
    line.head(Level::warn, entry.ended_ns, "connection failed");
    line.address("src.addr", entry.source.to_string());
    line.address("dst.addr", entry.destination.to_string());
    line.text("direction", to_string(entry.direction));
}

void put_complete(Line& line, const AccessEntry& entry) {
    line.head(entry.error.empty() ? Level::info : Level::error, entry.ended_ns, "connection complete");
    line.address("src.addr", entry.source.to_string());
    put_side(line, source_keys, entry.source_workload.get(), entry.source_identity());
    line.address("dst.addr", entry.destination.to_string());
    if (auto target = entry.hbone_target(); !target.empty()) line.address("dst.hbone_addr", target);
    if (entry.service) line.text_if_known("dst.service", entry.service->hostname);
    put_side(line, destination_keys, entry.destination_workload.get(), entry.destination_identity());
    line.text("direction", to_string(entry.direction));
    line.number("bytes_sent", entry.bytes_sent);
    line.number("bytes_recv", entry.bytes_received);
    line.text("duration", fmt::format("{}ms", entry.duration.count()));
}

}

std::string_view to_string(Direction direction) noexcept {
    return direction == Direction::inbound ? "inbound" : "outbound";
}

void OpenEntry::set_hbone_target(const std::string& authority) {
    auto address = base::SocketAddress::parse(authority);
    if (address && address->ip == destination.ip && address->to_string() == authority)
        hbone_port = address->port;
    else
        hbone_name = std::make_unique<const std::string>(authority);
}

std::string OpenEntry::hbone_target() const {
    if (hbone_name) return *hbone_name;
    return hbone_port != 0 ? base::SocketAddress{destination.ip, hbone_port}.to_string() : "";
}

std::optional<state::Identity> OpenEntry::source_identity() const {
    if (!mutual_tls) return std::nullopt;
    if (direction == Direction::outbound)
        return source_workload ? std::optional{source_workload->identity()} : std::nullopt;
    return peer_identity ? std::optional{*peer_identity} : std::nullopt;
}

std::optional<state::Identity> OpenEntry::destination_identity() const {
    if (!mutual_tls || !destination_workload) return std::nullopt;
    return destination_workload->identity();
}

void format_entry(fmt::memory_buffer& out, const AccessEntry& entry, Format format) {
    Line line{out, format};
    if (entry.early)
        put_early(line, entry);
    else
        put_complete(line, entry);
    line.text_if_known("error", entry.error);
    line.end();
}

}
