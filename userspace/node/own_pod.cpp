// SPDX-License-Identifier: Apache-2.0
#include "own_pod.hpp"

#include <boost/asio/post.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>

namespace culvert::node {
namespace {

using base::Fd;

constexpr std::uint16_t tunnel_port = 15008;
constexpr int backlog = 128;

// Whoever runs in this netns may not share the port: no SO_REUSEPORT.
base::Result<Fd> open_listener(int family, const base::KeepAlive& keepalive) {
    const base::SocketAddress at{base::IpAddress::any(family), tunnel_port};
    Fd fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return base::errno_while("listen on " + at.to_string());
    int one = 1;
    bool set = ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
               (family == AF_INET || ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0);
    sockaddr_storage raw{};
    socklen_t size = at.to(raw);
    if (!set || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0 || ::listen(fd.get(), backlog) != 0)
        return base::errno_while("listen on " + at.to_string());
    if (auto done = base::set_nodelay(fd.get()); !done) return done.error();
    if (auto done = base::set_keepalive(fd.get(), keepalive); !done) return done.error();
    return fd;
}

bool says_no_ipv6(const base::Error& error) {
    return error.code.value() == EAFNOSUPPORT || error.code.value() == EADDRNOTAVAIL;
}

// Each is shared by all workers.
base::Result<std::vector<capture::Listener>> open_listeners(std::size_t workers, bool ipv6,
                                                            const base::KeepAlive& keepalive) {
    std::vector<capture::Listener> listeners;
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !ipv6) continue;
        auto fd = open_listener(family, keepalive);
        if (!fd && family == AF_INET6 && says_no_ipv6(fd.error())) continue;
        if (!fd) return fd.error();
        for (unsigned worker = 0; worker < workers; ++worker) {
            Fd share{::fcntl(fd->get(), F_DUPFD_CLOEXEC, 3)};
            if (!share) return base::errno_while("share a listener with a worker");
            listeners.push_back({.arrival = capture::Arrival::inbound_hbone,
                                 .family = family,
                                 .worker = worker,
                                 .fd = std::move(share),
                                 .shared = true});
        }
    }
    return listeners;
}

}

std::optional<OwnPod::Who> OwnPod::who(const control::ClusterSettings* cluster, const control::Config& config) {
    if (!cluster || !config.doors.metrics) return std::nullopt;
    if (cluster->pod_name.empty() || cluster->pod_namespace.empty() || cluster->service_account.empty())
        return std::nullopt;
    return Who{.uid = config.node.cluster_id + "//Pod/" + cluster->pod_namespace + "/" + cluster->pod_name,
               .name = cluster->pod_namespace + "/" + cluster->pod_name,
               .network = config.node.network,
               .identity = {config.node.trust_domain, cluster->pod_namespace, cluster->service_account},
               .metrics_port = config.doors.metrics->port,
               .ipv6 = config.ipv6};
}

OwnPod::OwnPod(boost::asio::io_context& io, tls::CertificateManager& certificates, Workers& workers, Who who,
               base::KeepAlive keepalive, std::chrono::milliseconds drain_deadline)
    : io_{io},
      certificates_{certificates},
      workers_{workers},
      who_{std::move(who)},
      keepalive_{keepalive},
      drain_deadline_{drain_deadline},
      again_{io} {}

void OwnPod::publish(const state::Snapshot& mesh) {
    wanted_.reset();
    if (auto own = mesh.workload_by_uid(who_.uid); own && own->protocol == state::Protocol::hbone) {
        wanted_ = who_.identity;
        wanted_->trust_domain = own->trust_domain;
    }
    settle();
}

std::optional<OwnPod::View> OwnPod::view() const {
    if (!wanted_) return std::nullopt;
    View view{who_, here_ == wanted_ ? "" : said_.empty() ? "its listener is not open yet" : said_};
    view.who.identity = *wanted_;
    return view;
}

void OwnPod::close() {
    stop();
    wanted_.reset();
    settle();
}

void OwnPod::stop() {
    stopped_ = true;
    again_.cancel();
}

void OwnPod::settle() {
    if (leaving_ > 0 || here_ == wanted_) return;
    if (here_) return leave();
    if (stopped_) return;
    if (auto opened = open(*wanted_); !opened) {
        std::string text = opened.error().to_string();
        if (said_ != text) base::log::warn("node", "metrics cannot be read through the mesh: {}. Trying again", text);
        said_ = std::move(text);
        return try_again();
    }
    here_ = wanted_;
    said_.clear();
    base::log::info("node", "own pod {}: port {} is in the mesh as {}", who_.name, who_.metrics_port,
                    here_->to_string());
}

base::Result<> OwnPod::open(const state::Identity& identity) {
    auto netns = base::open_netns("/proc/thread-self/ns/net");
    if (!netns) return netns.error();
    auto listeners = open_listeners(workers_.size(), who_.ipv6, keepalive_);
    if (!listeners) return listeners.error();
    certificates_.add(identity);
    auto local = std::make_shared<const proxy::LocalPod>(proxy::LocalPod{
        .uid = who_.uid,
        .enrolment = who_.uid + "#own-" + std::to_string(++openings_),
        .name = who_.name,
        .network = who_.network,
        .identity = identity,
        .netns = std::make_shared<const Fd>(std::move(*netns)),
        .only_port = who_.metrics_port,
    });
    std::vector<std::vector<capture::Listener>> shares(workers_.size());
    for (auto& listener : *listeners) shares[listener.worker].push_back(std::move(listener));
    for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i]->add_pod(local, std::move(shares[i]));
    return {};
}

void OwnPod::leave() {
    const state::Identity before = *std::exchange(here_, std::nullopt);
    leaving_ = workers_.size();
    auto one_less = [this, before] {
        if (--leaving_ > 0) return;
        certificates_.remove(before);
        settle();
    };
    for (auto& worker : workers_)
        worker->remove_pod(who_.uid, drain_deadline_, [this, one_less] { boost::asio::post(io_, one_less); });
}

void OwnPod::try_again() {
    again_.expires_after(std::chrono::seconds{1});
    again_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) settle();
    });
}

}
