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

// Not one that somebody has shut from outside.
bool accepts(const Fd& listener) {
    int on = 0;
    socklen_t size = sizeof on;
    return ::getsockopt(listener.get(), SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == 0 && on != 0;
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
    View view{who_, here_ == wanted_ ? said_ : said_.empty() ? "its listener is not open yet" : said_};
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
    close_listeners();  // the workers' shares are the last
}

void OwnPod::settle() {
    if (leaving_ > 0 || here_ == wanted_) return;
    if (here_) return leave();
    if (stopped_) return;
    look_again();
    if (auto opened = open(*wanted_); !opened) {
        close_listeners();
        return complain(opened.error());
    }
    here_ = wanted_;
    said_.clear();
    base::log::info("node", "own pod {}: port {} is in the mesh as {}", who_.name, who_.metrics_port,
                    here_->to_string());
}

// Nobody tells of a listener that is shut from outside (`ss -K`): it is looked at every second.
void OwnPod::look_after() {
    look_again();
    if (accepts(ipv4_) && (!ipv6_ || accepts(ipv6_))) return;
    if (auto renewed = renew(); !renewed) return complain(renewed.error());
    said_.clear();
    base::log::warn("node", "own pod {}: its listener was shut from outside; it is open again", who_.name);
}

void OwnPod::complain(const base::Error& error) {
    std::string text = error.to_string();
    if (said_ != text) base::log::warn("node", "metrics cannot be read through the mesh: {}. Trying again", text);
    said_ = std::move(text);
}

// Those that still accept stay: nobody else can have their port while they do.
base::Result<> OwnPod::open_listeners() {
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !who_.ipv6) continue;
        auto& listener = family == AF_INET ? ipv4_ : ipv6_;
        if (listener && accepts(listener)) continue;
        auto fd = open_listener(family, keepalive_);
        if (!fd && family == AF_INET6 && says_no_ipv6(fd.error())) continue;
        if (!fd) return fd.error();
        listener = std::move(*fd);
    }
    return {};
}

// Each is shared by all workers.
base::Result<OwnPod::Shares> OwnPod::share_listeners() const {
    Shares shares(workers_.size());
    for (const Fd* listener : {&ipv4_, &ipv6_}) {
        for (unsigned worker = 0; *listener && worker < workers_.size(); ++worker) {
            Fd share{::fcntl(listener->get(), F_DUPFD_CLOEXEC, 3)};
            if (!share) return base::errno_while("share a listener with a worker");
            shares[worker].push_back({.arrival = capture::Arrival::inbound_hbone,
                                      .family = listener == &ipv4_ ? AF_INET : AF_INET6,
                                      .worker = worker,
                                      .fd = std::move(share),
                                      .shared = true});
        }
    }
    return shares;
}

void OwnPod::close_listeners() {
    ipv4_.reset();
    ipv6_.reset();
}

base::Result<> OwnPod::open(const state::Identity& identity) {
    auto netns = base::open_netns("/proc/thread-self/ns/net");
    if (!netns) return netns.error();
    if (auto opened = open_listeners(); !opened) return opened;
    auto shares = share_listeners();
    if (!shares) return shares.error();
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
    for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i]->add_pod(local, std::move((*shares)[i]));
    return {};
}

base::Result<> OwnPod::renew() {
    if (auto opened = open_listeners(); !opened) return opened;
    auto shares = share_listeners();
    if (!shares) return shares.error();
    for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i]->add_listeners(who_.uid, std::move((*shares)[i]));
    return {};
}

void OwnPod::leave() {
    const state::Identity before = *std::exchange(here_, std::nullopt);
    close_listeners();
    leaving_ = workers_.size();
    auto one_less = [this, before] {
        if (--leaving_ > 0) return;
        certificates_.remove(before);
        settle();
    };
    for (auto& worker : workers_)
        worker->remove_pod(who_.uid, drain_deadline_, [this, one_less] { boost::asio::post(io_, one_less); });
}

void OwnPod::look_again() {
    again_.expires_after(std::chrono::seconds{1});
    again_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled || stopped_) return;
        if (here_)
            look_after();
        else
            settle();
    });
}

}
