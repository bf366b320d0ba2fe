// SPDX-License-Identifier: Apache-2.0
// The DNS server of this node's pods: what the mesh knows is answered at once, the rest asked of the nameservers of a
// resolv.conf, from the pod's own network namespace.
//
// One thread and its loop for all pods, apart from the workers', so that neither a flood of questions nor a new mesh
// holds up the other's work. Constructed, called and destroyed on the control thread, but for serve().
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <prometheus/metric_family.h>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/dns/names.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::dns {

struct Settings {
    NameSettings names;
    // Of the daemon, whose nameservers every pod's questions go to. Those on loopback are asked from the daemon's own
    // namespace: in the pod's there is nobody.
    std::string resolv_conf = "/etc/resolv.conf";
    std::uint16_t nameserver_port = 53;
    std::chrono::milliseconds next_server{1000};  // after which the next nameserver is asked as well
    std::chrono::milliseconds give_up{4000};      // SERVFAIL comes before clients ask again, after 5 s
    std::chrono::milliseconds idle{5000};         // of a TCP connection
    unsigned questions_per_pod = 256;             // asked of nameservers at a time; then SERVFAIL
    unsigned connections_per_pod = 64;
    // Exempts a TCP socket from the capture before it connects. Called on the server's thread.
    std::function<base::Result<>(int fd)> claim = [](int) { return base::Result<>{}; };
};

enum class Transport { udp, tcp };

struct Listener {
    Transport transport;
    base::Fd fd;  // non-blocking
    // With one, questions come to the address that the app asked, and answers leave from there: by this raw socket.
    base::Fd as_asked = {};
};

// Where istio-cni's rules send a pod's questions.
inline constexpr std::uint16_t redirected_port = 15053;

// Both transports on each address, in the pod's namespace; an IPv6 address that it does not have is left out. With
// shared_port, the daemon that replaces this one can listen as well, which apps of the same uid then can, too.
base::Result<std::vector<Listener>> open_listeners(int netns, const std::vector<base::SocketAddress>& addresses,
                                                   bool shared_port = false);
std::vector<base::SocketAddress> loopback(std::uint16_t port = redirected_port);

struct Pod {
    std::string uid;
    std::string name;      // for people
    std::string workload;  // the uid of its workload in the mesh
    std::shared_ptr<const base::Fd> netns;
};

class Server {
public:
    explicit Server(Settings settings);  // starts the thread; throws std::system_error
    ~Server();                           // ends everything now, then the thread

    // Each question is answered by what was published last. Before that: SERVFAIL.
    void publish(state::SnapshotPtr mesh);
    void add_pod(Pod pod, std::vector<Listener> listeners);
    // Listeners in the place of those that it had.
    void renew_listeners(const std::string& uid, std::vector<Listener> listeners);
    // Takes no more questions, and drops those that are not answered by the deadline. Then `gone` is called, on the
    // server's thread: its ports are free.
    void remove_pod(
        const std::string& uid, std::chrono::milliseconds deadline, std::function<void()> gone = [] {});

    // A pod's TCP connection to a nameserver that was accepted elsewhere. Any thread.
    void serve(const std::string& uid, base::Fd connection);

    // istio_dns_*, as ztunnel names them, and what else is counted. Any thread.
    void collect(std::vector<prometheus::MetricFamily>& into) const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}
