// SPDX-License-Identifier: Apache-2.0
// Two namespaces and a wire: a node, and one pod on it. Named after this process, gone with the object.
#pragma once
#include <string>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>

namespace culvert::test {

// Addresses of the pair. The VIPs are nobody's; the pod has a route to them.
struct Pair {
    const char* node;
    const char* pod;
    const char* vip;
};
inline constexpr Pair ipv4{"10.77.0.1", "10.77.0.2", "10.96.0.10"};
inline constexpr Pair ipv6{"fd77::1", "fd77::2", "fd96::10"};

struct NamespaceOptions {
    bool pod_has_ipv6 = true;
};

class Namespaces {
public:
    explicit Namespaces(NamespaceOptions options = {});
    ~Namespaces();
    Namespaces(const Namespaces&) = delete;
    Namespaces& operator=(const Namespaces&) = delete;

    int node() const { return node_.get(); }
    int pod() const { return pod_.get(); }
    const std::string& pod_name() const { return pod_name_; }
    const std::string& node_name() const { return node_name_; }

    // Output of a shell command with $POD and $NODE set to the names. Empty output and failure look the same.
    std::string run(const std::string& command) const;

private:
    std::string node_name_;
    std::string pod_name_;
    base::Fd node_;
    base::Fd pod_;
};

// A namespace inside the pod, as a VM's or a nested container's: a veth `vm` in the pod, `eth0` inside.
class Nested {
public:
    explicit Nested(const Namespaces& in);
    ~Nested();
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

    int netns() const { return netns_.get(); }
    const std::string& name() const { return name_; }
    unsigned interface() const { return interface_; }  // of `vm` in the pod

    static constexpr Pair ipv4{"10.78.0.1", "10.78.0.2", ""};  // the pod's end, and inside
    static constexpr Pair ipv6{"fd78::1", "fd78::2", ""};

private:
    std::string name_;
    base::Fd netns_;
    unsigned interface_ = 0;
};

// A listening TCP socket in the namespace.
base::Fd listen_in(int netns, const char* ip, std::uint16_t port, int mark = 0);
// Connects within the limit; errno of the failure in error, ETIMEDOUT when the time was up.
struct Connection {
    base::Fd fd;
    int error = 0;
    double milliseconds = 0;
};
struct ConnectOptions {
    int mark = 0;
    const char* device = nullptr;
    int limit_ms = 500;
};
Connection connect_in(int netns, const char* ip, std::uint16_t port, ConnectOptions options = {});
// Connects a socket that is there already; 0 or the errno. A non-blocking one is waited for.
int reconnect(int fd, const char* ip, std::uint16_t port, int limit_ms = 500);
void disconnect(int fd);  // connect() to AF_UNSPEC
// Waits a little for a connection; empty when none comes.
base::Fd accept_from(int listener, int limit_ms = 300);

// Sees what passes the node's end of the wire.
class Tap {
public:
    explicit Tap(const Namespaces&, const char* device = "veth0");
    struct Seen {
        int tcp = 0;
        int syn_acks = 0;
        int resets = 0;
    };
    Seen look();  // since the last call
    int tcp_packets() { return look().tcp; }

private:
    base::Fd socket_;
};

}
