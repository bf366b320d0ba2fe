// SPDX-License-Identifier: Apache-2.0
#include "file_source.hpp"

#include <algorithm>
#include <utility>

#include <culvert/base/log.hpp>
#include <culvert/control/changes.hpp>

namespace culvert::node {

base::Result<> FileSource::open(boost::asio::io_context& io, admin::Readiness& readiness) {
    readiness.pending("pods");
    auto watch = control::FileWatch::start(io, file_, [this] { look_again(); });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    const control::CaSettings& ca = config_.ca;
    auto authority = ca.certificate.empty() ? tls::Authority::keep(ca.directory, config_.node.trust_domain)
                                            : tls::Authority::load(ca.certificate, ca.key);
    if (!authority) return authority.error();
    authority_ = std::move(*authority);
    return {};
}

void FileSource::begin(const Site& site) {
    site_ = &site;
    publish();
    for (const auto& pod : config_.pods) site.pods.join(pod);
    site.pods.on_change([this] { say_ready(); });
    std::vector<std::string> uids;
    for (const auto& pod : config_.pods) uids.push_back(pod.uid);
    site.settled(uids);
    say_ready();
    look_again();  // main read the file before anybody watched it
}

void FileSource::publish() {
    site_->mesh.publish(std::make_shared<const state::Snapshot>(config_.workloads, config_.services), config_.policies,
                        config_.unknown_policy.value_or(policy::Unknown::deny));
}

void FileSource::say_ready() {
    if (ready_said_ || site_->pods.waiting() > 0) return;
    ready_said_ = true;
    site_->ready("pods");
}

void FileSource::look_again() {
    if (!site_ || stopped_) return;
    auto& reloads = site_->reloads;
    auto fresh = control::load_config(file_);
    if (fresh) {
        reloads.error.clear();
        return apply(std::move(*fresh));
    }
    ++reloads.refused;
    reloads.last = std::chrono::system_clock::now();
    reloads.error = fresh.error().to_string();
    base::log::error("control", "{}. The last good configuration goes on", fresh.error().to_string());
}

void FileSource::apply(control::Config fresh) {
    auto changes = control::diff(config_, fresh);
    if (changes.none()) return;
    ++site_->reloads.applied;
    site_->reloads.last = std::chrono::system_clock::now();
    for (const auto& key : changes.need_restart)
        base::log::warn("control", "{}: the new value of {} waits for a restart", file_, key);
    // What waits for a restart must be found different again by the next reload.
    config_.pods = std::move(fresh.pods);
    config_.workloads = std::move(fresh.workloads);
    config_.services = std::move(fresh.services);
    config_.policies = std::move(fresh.policies);
    config_.unknown_policy = fresh.unknown_policy;
    config_.log.level = fresh.log.level;
    if (changes.log_level) base::log::configure(config_.log.level, config_.log.format);
    if (changes.mesh) publish();
    Pods& pods = site_->pods;
    auto successor = [&](const control::Pod& pod) {
        return std::ranges::find_if(changes.joined, [&](const auto& other) { return other.uid == pod.uid; });
    };
    for (const auto& pod : changes.left) {
        auto next = successor(pod);
        next == changes.joined.end() ? pods.leave(pod) : pods.replace(pod, *next);
    }
    auto is_new = [&](const control::Pod& pod) {
        return std::ranges::none_of(changes.left, [&](const auto& other) { return other.uid == pod.uid; });
    };
    for (const auto& pod : changes.joined)
        if (is_new(pod)) pods.join(pod);
    for (const auto& pod : changes.excluding) pods.exclude(pod);
    base::log::info("control", "{} applied: {} pods joined, {} left{}{}", file_, changes.joined.size(),
                    changes.left.size(), changes.mesh ? ", the mesh changed" : "",
                    changes.excluding.empty() ? "" : ", exclusions changed");
}

}
