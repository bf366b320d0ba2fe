// SPDX-License-Identifier: Apache-2.0
#include "pods.hpp"

#include <boost/asio/post.hpp>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include <culvert/base/fd.hpp>
#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>

namespace culvert::node {
namespace {

// What tells one network namespace from another; 0 where there is none. Who removes one unmounts it first: what is then
// still at the path is a plain file.
std::uint64_t inode_of(const control::Pod& pod) {
    base::Fd found;
    if (!pod.netns_itself) found = base::Fd{::open(pod.netns.c_str(), O_PATH | O_CLOEXEC)};
    int here = pod.netns_itself ? pod.netns_itself->get() : found.get();
    struct statfs system {};
    struct stat status {};
    bool is_namespace = here >= 0 && ::fstatfs(here, &system) == 0 && system.f_type == NSFS_MAGIC;
    return is_namespace && ::fstat(here, &status) == 0 ? status.st_ino : 0;
}

base::Result<base::Fd> open_netns(const control::Pod& pod) {
    if (!pod.netns_itself) return base::open_netns(pod.netns);
    base::Fd same{::fcntl(pod.netns_itself->get(), F_DUPFD_CLOEXEC, 3)};
    if (!same) return base::errno_while("keep the netns that was handed over");
    return same;
}

}

bool in_one_netns(const control::Pod& one, const control::Pod& other) {
    const auto inode = inode_of(one);
    return inode != 0 && inode == inode_of(other);
}

Pods::Pods(boost::asio::io_context& io, capture::Capture& capture, tls::CertificateManager& certificates,
           Workers& workers, Names names, std::string network, std::chrono::milliseconds drain_deadline)
    : io_{io},
      capture_{capture},
      certificates_{certificates},
      workers_{workers},
      dns_{names.server},
      redirected_dns_to_{std::move(names.redirected_to)},
      network_{std::move(network)},
      drain_deadline_{drain_deadline},
      every_other_second_{io},
      enrolment_seconds_{{0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5}} {
    look_after();
}

void Pods::join(const control::Pod& pod) {
    if (auto still = leaving_.find(pod.uid); still != leaving_.end()) {
        // Wanted again, in the namespace that it is about to leave: it has left to let nothing past us.
        Leaving& leaving = still->second;
        leaving.next = pod;
        if (leaving.closed || inode_of(pod) != leaving.netns_inode) return;
        leaving.closed = true;
        if (auto closed = capture_.close(pod.uid); !closed)
            base::log::warn("node", "pod {}: {}", pod.name, closed.error().to_string());
        return;
    }
    auto joined = try_to_join(pod);
    if (!joined) {
        std::string text = joined.error().to_string();
        Waiting& entry = waiting_[pod.uid];
        if (entry.said != text) base::log::error("node", "{}. Trying again", text);
        entry = {pod, std::move(text)};
    } else {
        waiting_.erase(pod.uid);
    }
    changed_();
}

void Pods::look_after() {
    every_other_second_.expires_after(std::chrono::seconds{2});
    every_other_second_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled || stopped_) return;
        follow_netns();
        auto again = waiting_;
        for (auto& [uid, entry] : again) join(entry.pod);
        for (auto& [uid, here] : here_)
            if (!here.not_excluding.empty()) say_exclusions(here);
        look_after();
    });
}

void Pods::follow_netns() {
    auto now = here_;
    for (auto& [uid, here] : now) {
        auto inode = inode_of(here.pod);
        if (inode == here.netns_inode) {
            here_[uid].path_lost = false;
            continue;
        }
        // The path is gone, but the pod is not: what it says goes on through us.
        if (inode == 0 && capture::netns_in_use(here.netns_inode)) {
            if (!std::exchange(here_[uid].path_lost, true))
                base::log::warn("node", "pod {}/{} ({}): {} is gone, but its netns is in use: it stays in the mesh",
                                here.pod.identity.namespace_, here.pod.name, uid, here.pod.netns);
            continue;
        }
        base::log::warn("node", "pod {}/{} ({}): {}", here.pod.identity.namespace_, here.pod.name, uid,
                        inode == 0 ? here.pod.netns + " is gone" : "there is another netns at " + here.pod.netns);
        replace(here.pod, here.pod);
    }
}

base::Result<> Pods::try_to_join(const control::Pod& pod) {
    std::string name = pod.identity.namespace_ + "/" + pod.name;
    auto netns = open_netns(pod);
    if (!netns) return base::problem("pod " + name + ": " + netns.error().to_string() + "; the pod may not be running");
    capture::PodSpec spec{pod.uid,     name, netns->get(), pod.virtual_interfaces, pod.exclude, plaintext_of(pod.uid),
                          has_dns(pod)};

    certificates_.add(pod.identity);
    auto begun = std::chrono::steady_clock::now();
    auto listeners = capture_.listen(spec);
    if (!listeners) {
        certificates_.remove(pod.identity);
        return base::problem("pod " + name + ": " + listeners.error().to_string());
    }
    auto dns_listeners = redirected_dns(spec, *listeners);
    if (!dns_listeners) {
        certificates_.remove(pod.identity);
        return base::problem("pod " + name + ": " + dns_listeners.error().to_string());
    }
    if (auto enrolled = capture_.enrol(spec, *listeners); !enrolled) {
        certificates_.remove(pod.identity);
        return base::problem("pod " + name + ": " + enrolled.error().to_string());
    }
    enrolment_seconds_.Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    auto local = std::make_shared<const proxy::LocalPod>(proxy::LocalPod{
        .uid = pod.uid,
        .enrolment = pod.uid + "#" + std::to_string(++enrolments_),
        .name = name,
        .network = network_,
        .identity = pod.identity,
        .netns = std::make_shared<const base::Fd>(std::move(*netns)),
        .serve_dns = serve_dns_of(spec),
    });
    take_dns(*listeners, *dns_listeners);
    if (spec.dns) dns_->add_pod({pod.uid, name, pod.uid, local->netns}, std::move(*dns_listeners));
    hand_out(std::move(*listeners), [&](proxy::Worker& worker, std::vector<capture::Listener> share) {
        worker.add_pod(local, std::move(share));
    });
    here_[pod.uid] = {.pod = pod, .netns_inode = inode_of(pod)};
    base::log::info("node", "pod {} ({}) is in the mesh as {}", name, pod.uid, pod.identity.to_string());
    if (!pod.exclude.empty()) base::log::info("node", "pod {}: {}", name, pod.exclude.to_string());
    return {};
}

void Pods::hand_out(std::vector<capture::Listener> listeners,
                    const std::function<void(proxy::Worker&, std::vector<capture::Listener>)>& give) {
    std::vector<std::vector<capture::Listener>> shares(workers_.size());
    for (auto& listener : listeners) shares[listener.worker].push_back(std::move(listener));
    for (std::size_t i = 0; i < workers_.size(); ++i) give(*workers_[i], std::move(shares[i]));
}

// Where capture has no listeners for DNS, its rules send the questions to a port of ours.
base::Result<std::vector<dns::Listener>> Pods::redirected_dns(const capture::PodSpec& spec,
                                                              const std::vector<capture::Listener>& of_capture) const {
    auto takes_dns = [](const capture::Listener& one) { return one.arrival == capture::Arrival::dns; };
    if (!spec.dns || std::ranges::any_of(of_capture, takes_dns)) return std::vector<dns::Listener>{};
    // Shared: a daemon that takes over from this one opens its own before ours close.
    return dns::open_listeners(spec.netns, redirected_dns_to_, true);
}

// Out of capture's, for they are no worker's.
void Pods::take_dns(std::vector<capture::Listener>& of_capture, std::vector<dns::Listener>& into) {
    for (capture::Listener& one : of_capture)
        if (one.arrival == capture::Arrival::dns)
            into.push_back({dns::Transport::udp, std::move(one.fd), std::move(one.raw)});
    std::erase_if(of_capture, [](const auto& one) { return one.arrival == capture::Arrival::dns; });
}

std::function<void(base::Fd)> Pods::serve_dns_of(const capture::PodSpec& spec) const {
    if (!spec.dns) return {};
    return [dns = dns_, uid = spec.uid](base::Fd connection) { dns->serve(uid, std::move(connection)); };
}

void Pods::renew_listeners(const std::string& uid) {
    auto here = here_.find(uid);
    if (here == here_.end() || left_to_successor_) return;
    const control::Pod& pod = here->second.pod;
    std::string name = pod.identity.namespace_ + "/" + pod.name;
    auto failed = [&](const base::Error& error) {
        base::log::error("node", "pod {} has lost its listeners, and stays closed: {}", name, error.to_string());
    };
    auto netns = open_netns(pod);
    if (!netns) return failed(netns.error());
    auto listeners = capture_.listen(
        {.uid = pod.uid, .name = name, .netns = netns->get(), .virtual_interfaces = {}, .dns = has_dns(pod)});
    if (!listeners) return failed(listeners.error());
    if (auto filled = capture_.refill(uid, *listeners); !filled) return failed(filled.error());
    std::vector<dns::Listener> dns_listeners;
    take_dns(*listeners, dns_listeners);
    if (!dns_listeners.empty()) dns_->renew_listeners(uid, std::move(dns_listeners));
    hand_out(std::move(*listeners), [&](proxy::Worker& worker, std::vector<capture::Listener> share) {
        worker.add_listeners(uid, std::move(share));
    });
}

void Pods::exclude(const control::Pod& pod) {
    if (auto waiting = waiting_.find(pod.uid); waiting != waiting_.end()) waiting->second.pod = pod;
    if (auto leaving = leaving_.find(pod.uid); leaving != leaving_.end() && leaving->second.next)
        leaving->second.next = pod;
    auto here = here_.find(pod.uid);
    if (here == here_.end() || left_to_successor_) return;
    here->second.pod = pod;
    say_exclusions(here->second);
}

void Pods::say_exclusions(Here& here) {
    const control::Pod& pod = here.pod;
    std::string name = pod.identity.namespace_ + "/" + pod.name;
    if (auto done = capture_.exclude(pod.uid, pod.exclude); !done) {
        std::string text = done.error().to_string();
        if (here.not_excluding != text)
            base::log::error("node", "pod {}: what bypasses the mesh is not changed yet: {}. Trying again", name, text);
        here.not_excluding = std::move(text);
        return;
    }
    here.not_excluding.clear();
    base::log::info("node", "pod {}: {} from now on", name, pod.exclude.to_string());
}

policy::Plaintext Pods::plaintext_of(const std::string& uid) const {
    return policy::plaintext_of(policies_ ? policies_->of(uid) : nullptr, capture::most_plaintext_rules);
}

void Pods::publish(policy::SetPtr policies) {
    policies_ = std::move(policies);
    for (const auto& [uid, here] : here_)
        if (auto judged = capture_.judge(uid, plaintext_of(uid)); !judged)
            base::log::warn("node", "pod {}/{}: {}; the proxy decides alone", here.pod.identity.namespace_,
                            here.pod.name, judged.error().to_string());
}

void Pods::leave_to_successor() {
    left_to_successor_ = true;
    stop();
}

void Pods::stop() {
    stopped_ = true;
    every_other_second_.cancel();
    waiting_.clear();
}

base::Result<> Pods::take(const control::Pod& pod) {
    if (auto here = here_.find(pod.uid); here == here_.end())
        join(pod);
    else if (here->second.netns_inode != inode_of(pod))
        replace(control::Pod{here->second.pod}, pod);
    auto waiting = waiting_.find(pod.uid);
    return waiting == waiting_.end() ? base::Result<>{} : base::problem(waiting->second.said);
}

void Pods::leave(const std::string& uid) {
    if (waiting_.erase(uid) > 0) changed_();
    auto here = here_.extract(uid);
    if (here.empty()) {
        // Left already, and a later join waits for it to be gone: that one is off.
        if (auto still = leaving_.find(uid); still != leaving_.end()) still->second.next.reset();
        return;
    }
    const control::Pod& pod = here.mapped().pod;
    if (auto stopped = capture_.stop_capturing(uid); !stopped)
        base::log::warn("node", "pod {}: {}", pod.name, stopped.error().to_string());
    end_connections(pod, here.mapped().netns_inode, drain_deadline_, false);
}

void Pods::replace(const control::Pod& pod, const control::Pod& successor) {
    auto here = here_.find(pod.uid);
    if (here != here_.end()) {
        auto inode = here->second.netns_inode;
        here_.erase(here);
        end_connections(pod, inode, std::chrono::milliseconds{0}, inode == inode_of(successor));
    }
    join(successor);
}

void Pods::end_connections(const control::Pod& pod, std::uint64_t netns_inode, std::chrono::milliseconds deadline,
                           bool keep_closed) {
    leaving_[pod.uid] = {pod, {}, netns_inode, keep_closed};
    const bool dns = has_dns(pod);
    auto left = std::make_shared<std::atomic<std::size_t>>(workers_.size() + dns);
    auto one_worker_less = [this, left, pod] {
        if (--*left == 0) boost::asio::post(io_, [this, pod] { gone(pod); });
    };
    for (auto& worker : workers_) worker->remove_pod(pod.uid, deadline, one_worker_less);
    if (dns) dns_->remove_pod(pod.uid, deadline, one_worker_less);
}

std::vector<Pods::View> Pods::view() const {
    std::vector<View> all;
    auto add = [&](const control::Pod& pod, const char* state, const std::string& why, bool closed) {
        all.push_back({pod, state, why, closed, has_dns(pod)});
    };
    for (const auto& [uid, here] : here_) add(here.pod, "in the mesh", here.not_excluding, false);
    for (const auto& [uid, leaving] : leaving_) add(leaving.pod, "leaving", "", leaving.closed);
    for (const auto& [uid, waiting] : waiting_) add(waiting.pod, "waiting", waiting.said, false);
    return all;
}

void Pods::gone(const control::Pod& pod) {
    auto left = leaving_.extract(pod.uid);
    if (left_to_successor_ || left.empty()) return;
    auto& next = left.mapped().next;
    if (left.mapped().closed && next) {
        capture_.let_go(pod.uid);
    } else if (auto released = capture_.release(pod.uid); !released) {
        base::log::warn("node", "pod {}: {}", pod.name, released.error().to_string());
    }
    certificates_.remove(pod.identity);
    base::log::info("node", "pod {}/{} ({}) has left the mesh", pod.identity.namespace_, pod.name, pod.uid);
    if (next && !stopped_) join(*next);
    changed_();
}

}
