// SPDX-License-Identifier: Apache-2.0
// Capture as a daemon uses it: one node, one pod, and the test in the place of the proxy.
#pragma once
#include <doctest/doctest.h>

#include <bpf/bpf.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <culvert/base/netns.hpp>
#include <culvert/bpf/marks.h>
#include <culvert/bpf/pod.h>
#include <culvert/capture/capture.hpp>

#include "netns.hpp"

namespace culvert::test {

using base::Fd;
using capture::Arrival;
using capture::Capture;
using capture::OwnSocket;

inline std::string fresh_instance() {
    static int counter;
    return "test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

// The daemon's side. Must live on a thread that is in the node's namespace (see on_node).
class Daemon {
public:
    Daemon(const Namespaces& where, std::string instance, bool take_over = false, std::uint32_t max_flows = 64,
           std::string node_netns = {})
        : where_{where}, instance_{std::move(instance)} {
        auto started = Capture::start(io_, {.instance = instance_,
                                            .node_netns = std::move(node_netns),
                                            .workers = 2,
                                            .max_pods = 8,
                                            .max_flows = max_flows,
                                            .take_over = take_over});
        if (!started) throw std::runtime_error{started.error().to_string()};
        capture_ = std::move(*started);
    }
    void enrol() {
        auto opened = capture_->listen(spec());
        if (!opened) throw std::runtime_error{opened.error().to_string()};
        listeners_ = std::move(*opened);
        if (auto done = capture_->enrol(spec(), listeners_); !done) throw std::runtime_error{done.error().to_string()};
    }
    capture::PodSpec spec() const { return {"uid-1", "test/pod", where_.pod(), {}, exclusions, plaintext}; }
    state::Exclusions exclusions;  // said at the next enrolment, as what follows
    policy::Plaintext plaintext;
    void kill() {  // what the kernel sees of kill -9
        capture_.reset();
        listeners_.clear();
    }
    void handle_events(int limit_ms = 50) {
        io_.restart();
        io_.run_for(std::chrono::milliseconds{limit_ms});
    }

    // In one turn with all that is due by now, and before it.
    void handle_events_after(const std::function<void()>& work) {
        boost::asio::posix::stream_descriptor ready{io_, ::eventfd(1, EFD_CLOEXEC)};
        ready.async_wait(boost::asio::posix::descriptor_base::wait_read, [&](boost::system::error_code) { work(); });
        io_.restart();
        io_.poll();
    }

    // Whichever worker gets it.
    Fd accept(Arrival arrival, int family, int limit_ms = 300) const {
        for (int waited = 0; waited <= limit_ms; waited += 10)
            for (const auto& listener : listeners_)
                if (listener.arrival == arrival && listener.family == family)
                    if (Fd fd = accept_from(listener.fd.get(), 5)) return fd;
        return {};
    }
    std::uint64_t count(const std::string& reason) const {
        for (const auto& one : capture_->reasons())
            if (one.name == reason) return one.count;
        throw std::runtime_error{"no such reason: " + reason};
    }
    const std::vector<capture::Listener>& listeners() const { return listeners_; }
    // As userspace does it from the pod's configuration.
    void set_virtual_interfaces(unsigned ifindex) const {
        Fd pods{bpf_obj_get(("/sys/fs/bpf/culvert/" + instance_ + "/cv_pods").c_str())};
        cv_pod_key key{};
        cv_pod pod{};
        REQUIRE(bpf_map_get_next_key(pods.get(), nullptr, &key) == 0);
        REQUIRE(bpf_map_lookup_elem(pods.get(), &key, &pod) == 0);
        pod.virtual_interfaces[0] = ifindex;
        REQUIRE(bpf_map_update_elem(pods.get(), &key, &pod, BPF_EXIST) == 0);
    }
    // Every reason that occurred, for messages.
    std::string reasons() const {
        std::string text;
        for (const auto& one : capture_->reasons())
            if (one.count) text += one.name + "=" + std::to_string(one.count) + " ";
        return text;
    }
    Capture& operator*() { return *capture_; }
    Capture* operator->() { return capture_.get(); }
    const std::string& instance() const { return instance_; }

private:
    boost::asio::io_context io_;
    const Namespaces& where_;
    std::string instance_;
    std::unique_ptr<Capture> capture_;
    std::vector<capture::Listener> listeners_;
};

// Runs the scenario on a thread whose home is the node's namespace, and cleans up whatever it leaves.
inline void on_node(const std::function<void(Namespaces&)>& scenario, NamespaceOptions options = {}) {
    Namespaces where{options};
    std::exception_ptr failure;
    std::thread node{[&] {
        REQUIRE(::setns(where.node(), CLONE_NEWNET) == 0);
        try {
            scenario(where);
        } catch (...) {
            failure = std::current_exception();
        }
    }};
    node.join();
    if (failure) std::rethrow_exception(failure);
}

// Outlives the daemon, whatever happens to the scenario.
struct Cleaned {
    std::string instance = fresh_instance();
    ~Cleaned() { CHECK(Capture::cleanup(instance).has_value()); }
};

// With the pod enrolled.
inline void on_enrolled(const std::function<void(Namespaces&, Daemon&)>& scenario) {
    on_node([&](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        scenario(where, daemon);
    });
}

struct FamilyRow {
    std::string name;
    int family;
    Pair at;
};
inline const FamilyRow families[] = {{"IPv4", AF_INET, ipv4}, {"IPv6", AF_INET6, ipv6}};

// The proxy's last step, in a client's name: claimed, bound to the address, not connected yet.
inline Fd leg_from(Daemon& daemon, int pod, const char* client, OwnSocket kind = OwnSocket::inbound_leg,
                   std::uint16_t port = 0) {
    auto ip = *base::IpAddress::parse(client);
    auto made =
        base::in_netns(pod, [&] { return Fd{::socket(ip.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}; });
    REQUIRE(daemon->claim(made->get(), kind).has_value());
    int one = 1;
    if (ip.is_v4())
        ::setsockopt(made->get(), SOL_IP, 19 /* IP_TRANSPARENT */, &one, sizeof one);
    else
        ::setsockopt(made->get(), SOL_IPV6, 75 /* IPV6_TRANSPARENT */, &one, sizeof one);
    sockaddr_storage raw{};
    socklen_t size = base::SocketAddress{ip, port}.to(raw);
    REQUIRE(::bind(made->get(), reinterpret_cast<sockaddr*>(&raw), size) == 0);
    return std::move(*made);
}

}
