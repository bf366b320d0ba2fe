// SPDX-License-Identifier: Apache-2.0
#include "control_plane.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <culvert/base/log.hpp>

namespace culvert::node {
namespace {

using std::chrono::steady_clock;

constexpr const char* state_part = "state manager";  // ztunnel's names for readiness
constexpr const char* pods_part = "workload proxy manager";

// So much of the control thread's time may go into telling the workers of changes that come one after the other.
constexpr int tenth = 10;

// For an answer on demand: who waits has given up by then.
constexpr std::chrono::seconds longest_question{5};

grpc::Roots roots_of(const std::string& text) {
    if (text == "SYSTEM") return grpc::SystemRoots{};
    if (text.find("-----BEGIN") != std::string::npos) return grpc::RootsText{text};
    return grpc::RootsFile{text};
}

grpc::Token token_of(const std::string& text) {
    if (text.empty()) return grpc::NoToken{};
    std::error_code missing;
    const bool is_path = std::filesystem::exists(text, missing) || text.find('/') != std::string::npos;
    if (is_path) return grpc::TokenFile{text};
    return grpc::TokenText{text};
}

std::string in_lower_case(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

grpc::Target target_of(const control::ServerSettings& server, const std::string& token, const std::string& cluster_id) {
    grpc::Target target{
        .address = server.address,
        .roots = roots_of(server.roots),
        .alternative_hostname = server.alternative_name,
        .token = token_of(token),
        .cluster_id = cluster_id,
        .headers = {},
    };
    for (const auto& [name, value] : server.headers) target.headers.emplace_back(in_lower_case(name), value);
    return target;
}

xds::Node node_of(const control::ClusterSettings& cluster) {
    return {
        .id = "ztunnel~" + cluster.instance_ip + "~" + cluster.pod_name + "." + cluster.pod_namespace + "~" +
              cluster.pod_namespace + ".svc.cluster.local",
        .metadata = cluster.metadata,
        .structured = cluster.structured_metadata,
    };
}

}

ControlPlane::ControlPlane(control::ClusterSettings cluster, control::NodeSettings node)
    : cluster_{std::move(cluster)}, node_{std::move(node)} {}

base::Result<> ControlPlane::open(boost::asio::io_context& io, admin::Readiness& readiness) {
    readiness.pending(state_part);
    readiness.pending(pods_part);
    io_ = &io;
    next_publish_.emplace(io);
    next_publish_->expires_at(steady_clock::time_point::min());
    ca_ = std::make_unique<ca::Client>(io, target_of(cluster_.ca, cluster_.token, node_.cluster_id));
    return {};
}

void ControlPlane::when_known(std::function<void()> go) {
    go_ = std::move(go);
    xds::Client::Callbacks callbacks{
        .on_change = [this](xds::Kind) { publish_soon(); },
        .on_ready =
            [this] {
                base::log::info("node", "{} has told of {} workloads and {} services", cluster_.xds.address,
                                xds_->store().workloads(), xds_->store().services());
                std::exchange(go_, nullptr)();
            },
    };
    xds::Client::Options options;
    if (cluster_.on_demand) options.interest = xds::Interest::on_demand;
    xds_ = std::make_unique<xds::Client>(*io_, target_of(cluster_.xds, cluster_.token, node_.cluster_id),
                                         node_of(cluster_), std::move(callbacks), options);
}

void ControlPlane::ask(const std::string& name, std::function<void(bool)> answered) {
    if (!xds_) return answered(false);
    xds_->ask(name, longest_question, [this, name, answered = std::move(answered)](xds::Client::Told told) {
        using enum xds::Client::Told;
        base::log::debug("xds", "{} was asked for: {}", name,
                         told == found     ? "it is in the mesh"
                         : told == missing ? "nobody is there"
                                           : "no answer");
        if (told != too_late && publish_waits_)
            answered_.push_back(answered);
        else
            answered(told != too_late);
    });
}

std::set<state::Identity> ControlPlane::identities() const {
    std::set<state::Identity> all;
    const auto mesh = xds_->store().mesh();
    for (const auto& one : mesh->workloads())
        if (one->node == node_.name && one->cluster_id == node_.cluster_id && one->protocol == state::Protocol::hbone &&
            one->network_mode == state::NetworkMode::standard)
            all.insert(one->identity());
    return all;
}

void ControlPlane::begin(const Site& site) {
    site_ = &site;
    publish();
    site_->ready(state_part);
    follow_roots();
    zds_ = std::make_unique<zds::Client>(*io_, cluster_.zds_socket, static_cast<zds::Handler&>(*this));
}

void ControlPlane::follow_roots() {
    if (!std::holds_alternative<grpc::RootsFile>(roots_of(cluster_.ca.roots))) return;
    auto watch = control::FileWatch::start(*io_, cluster_.ca.roots, [this] {
        if (!site_) return;
        base::log::info("tls", "{} has changed: certificates are asked for again", cluster_.ca.roots);
        site_->new_roots();
    });
    if (watch)
        roots_ = std::move(*watch);
    else
        base::log::warn("tls", "{}; new roots come with the next renewals only", watch.error().to_string());
}

void ControlPlane::stop() {
    roots_.reset();
    zds_.reset();
    xds_.reset();
    next_publish_->cancel();
    answered_.clear();
    site_ = nullptr;
}

// The first of many changes is told at once; those that follow wait until ten times as long as it took has passed.
void ControlPlane::publish_soon() {
    if (!site_ || std::exchange(publish_waits_, true)) return;
    next_publish_->expires_at(std::max(next_publish_->expiry(), steady_clock::now()));
    next_publish_->async_wait([this](boost::system::error_code cancelled) {
        if (cancelled || !site_) return;
        publish_waits_ = false;
        publish();
    });
}

void ControlPlane::publish() {
    const auto began = steady_clock::now();
    site_->mesh.publish(xds_->store().mesh(), xds_->store().policies(), policy::Unknown::deny);
    look_at_trust_domains();
    const auto now = steady_clock::now();
    next_publish_->expires_at(now + tenth * (now - began));
    for (const auto& answered : std::exchange(answered_, {})) answered(true);
}

// An identity's trust domain is what the workload says; a pod may come before it is heard of.
control::Pod ControlPlane::pod_of(const zds::WorkloadInfo& info, zds::Netns netns) const {
    control::Pod pod{
        .uid = node_.cluster_id + "//Pod/" + info.namespace_ + "/" + info.name,
        .name = info.name,
        .identity = {node_.trust_domain, info.namespace_,
                     info.service_account.empty() ? "default" : info.service_account},
        .netns = {},
        .netns_itself = std::move(netns),
    };
    if (auto workload = site_->mesh.snapshot()->workload_by_uid(pod.uid))
        pod.identity.trust_domain = workload->identity().trust_domain;
    return pod;
}

void ControlPlane::look_at_trust_domains() {
    for (auto& [uid, handed] : pods_) {
        control::Pod& pod = handed.pod;
        auto workload = site_->mesh.snapshot()->workload_by_uid(pod.uid);
        if (!workload || workload->identity().trust_domain == pod.identity.trust_domain) continue;
        const control::Pod before = pod;
        pod.identity.trust_domain = workload->identity().trust_domain;
        if (last_of(pod.uid) == &handed) site_->pods.replace(before, pod);
    }
}

const ControlPlane::Handed* ControlPlane::last_of(const std::string& name) const {
    const Handed* last = nullptr;
    for (const auto& [uid, handed] : pods_)
        if (handed.pod.uid == name && (!last || handed.number > last->number)) last = &handed;
    return last;
}

base::Result<> ControlPlane::added(const std::string& uid, const zds::WorkloadInfo& info, zds::Netns netns) {
    const control::Pod pod = pod_of(info, std::move(netns));
    // One that could not join is tried again, also when another has its name by now.
    auto known = pods_.find(uid);
    if (known != pods_.end() && last_of(pod.uid) != &known->second && in_one_netns(known->second.pod, pod)) return {};
    pods_.insert_or_assign(uid, Handed{pod, ++handed_});
    return site_->pods.take(pod);
}

// Of a pod that was made anew under its name, the old one's end may be told later, and means nothing then. The new
// one's end leaves the old one, if that is still there.
void ControlPlane::removed(const std::string& uid) {
    auto gone = pods_.extract(uid);
    if (gone.empty() || !site_) return;
    const Handed& pod = gone.mapped();
    const Handed* left = last_of(pod.pod.uid);
    if (left && left->number > pod.number) return;
    site_->pods.leave(pod.pod.uid);
    if (!left) return;
    if (auto taken = site_->pods.take(left->pod); !taken)
        base::log::debug("node", "{} waits: {}", uid, taken.error().to_string());
}

void ControlPlane::named_all(const std::set<std::string>& uids) {
    // Of a pod that the agent only wants kept we may not know the netns: then nobody can say whose leftovers are whose.
    if (!std::ranges::all_of(uids, [&](const auto& uid) { return pods_.contains(uid); })) return site_->settled({});
    std::vector<std::string> all;
    for (const auto& [uid, handed] : pods_)
        if (uids.contains(uid)) all.push_back(handed.pod.uid);
    site_->settled(all);
}

void ControlPlane::waits_for(const std::string& what) {
    if (!site_) return;
    if (what.empty())
        site_->ready(pods_part);
    else
        site_->not_ready(pods_part);
}

void ControlPlane::expose(telemetry::Metrics& metrics) {
    namespace families = telemetry::families;
    using telemetry::Sample;
    auto stats = [this] { return xds_ ? xds_->stats() : xds::Stats{}; };
    metrics.add(families::xds_terminations, [stats] {
        std::vector<Sample> samples;
        for (std::size_t i = 0; i < xds::terminations; ++i)
            samples.push_back(
                {std::string{to_string(static_cast<xds::Termination>(i))}, static_cast<double>(stats().ended[i])});
        return samples;
    });
    auto by_kind = [stats](auto field) {
        return [stats, field] {
            std::vector<Sample> samples;
            for (std::size_t i = 0; i < xds::kinds; ++i)
                samples.push_back(
                    {std::string{type_url(static_cast<xds::Kind>(i))}, static_cast<double>(stats().of[i].*field)});
            return samples;
        };
    };
    using OfKind = xds::Stats::OfKind;
    metrics.add(families::xds_messages, by_kind(&OfKind::responses));
    metrics.add(families::xds_bytes, by_kind(&OfKind::bytes));
    metrics.add(families::xds_refused, by_kind(&OfKind::refused_resources));
    metrics.add(families::xds_connected, [stats] { return stats().connected ? 1.0 : 0.0; });
    metrics.add(families::xds_age, [stats] {
        const auto since = stats().stale_since;
        return since ? std::chrono::duration<double>(steady_clock::now() - *since).count() : 0.0;
    });
}

}
