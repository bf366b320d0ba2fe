// SPDX-License-Identifier: Apache-2.0
// Getting pods' traffic to us and to nobody else. Two ways: our BPF programs on the cgroup root and in each pod's
// netns, or the iptables rules that istio-cni writes, to compare with. Behind both is the same proxy.
//
// Lives on: the control thread, except claim() and FlowTable, which any worker may call.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/base/socket.hpp>
#include <culvert/capture/flows.hpp>
#include <culvert/capture/refused.hpp>
#include <culvert/policy/plaintext.hpp>
#include <culvert/state/exclusions.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::capture {

// What a listener takes. The kernel picks by destination and origin, never by port alone.
enum class Arrival { outbound, inbound_plain, inbound_hbone, dns };

// What is accepted from it has TCP_NODELAY and keepalive already, and, but for tunnels, is closed with a reset until
// somebody says otherwise.
struct Listener {
    Arrival arrival;
    int family;       // AF_INET or AF_INET6
    unsigned worker;  // whose it is: 0 .. workers-1
    base::Fd fd;      // listening, non-blocking, made in the pod's netns
    // The same socket is other workers' as well.
    bool shared = false;
    // Connections to this port come by a rewritten address: what was asked for is in conntrack, not the socket's own.
    std::uint16_t redirected_to = 0;
    // Of `dns`, which is UDP and no worker's: takes packets with their headers, to answer in the name of who was asked.
    base::Fd raw = {};
};

// Why a socket of ours must not be captured.
enum class OwnSocket : std::uint32_t {
    dial = 1,         // leaves the pod for the network
    inbound_leg = 2,  // from inside the pod to its app, with the client's address; has a row in cv_flows
    plain_leg = 3,    // the same for a client that came without a tunnel: the row is that of the accepted socket
};

struct PodSpec {
    std::string uid;
    std::string name;  // for people: "namespace/name"
    int netns;         // borrowed for the call; capture keeps its own duplicate
    // Interfaces in the pod behind which VMs or nested containers live: what they forward is the pod's outbound.
    std::vector<std::string> virtual_interfaces;
    // Of the pod's own sockets; what comes by virtual interfaces is always captured.
    state::Exclusions exclusions = {};
    // What may be refused before it reaches the proxy.
    policy::Plaintext plaintext = {};
    // Questions to nameservers are captured: to listeners of ours by UDP, or, where rules do it, to port 15053.
    bool dns = false;
};

// That a pod's plaintext may have.
inline constexpr std::size_t most_plaintext_rules = 32;

enum class Mode { ebpf, iptables };

struct Settings {
    Mode mode = Mode::ebpf;
    std::string instance;  // pins live in <bpffs>/culvert/<instance>/
    // The path of the netns that the kubelet calls pods from; empty: the daemon's own; initial: the kernel's first
    // (ebpf).
    std::string node_netns = {};
    unsigned workers = 1;
    std::uint32_t max_pods = 1024;
    std::uint32_t max_flows = 16384;
    base::KeepAlive keepalive;  // of what the listeners accept
    // Else pods have no listeners on it. It is captured all the same, so their IPv6 is refused.
    bool ipv6 = true;
    // Start although another daemon of the instance runs, and replace it without a gap.
    bool take_over = false;
};

// A counted reason with its sentence, as on the metrics door.
struct ReasonCount {
    std::string name;
    std::string text;
    std::uint64_t count;
};

// How full a bounded map is, for the metrics door. Probe notes are not among them: their maps are always full, by
// design.
struct MapFill {
    std::string name;
    std::uint64_t used;
    std::uint64_t size;
};

// Something of ours that was found broken or missing, and is right again.
struct RepairCount {
    std::string what;  // "rule", "route", "sysctl", "guard", ...
    std::uint64_t count;
};

// What capture cannot settle alone. Called on the control thread, never from within a call into Capture.
struct Notices {
    // A pod's listeners died under their workers: listen() again, then refill().
    std::function<void(const std::string& uid)> listeners_lost = [](const std::string&) {};
    // Another daemon of this instance has taken over all pods: serve what is open, then end.
    std::function<void()> superseded = [] {};
};

// Whether a process lives in the network namespace with this inode.
bool netns_in_use(std::uint64_t inode);

class Capture {
public:
    // Whether this machine can do it at all, in one sentence that says what is missing.
    static base::Result<> check(Mode mode);
    // Probes the kernel, takes over what an earlier daemon of this instance left in place (the pods staying closed
    // meanwhile). Fails with a sentence that says what is missing.
    static base::Result<std::unique_ptr<Capture>> start(boost::asio::io_context& io, Settings settings);
    // Leaves pods captured, and closed: new connections are refused until the next start.
    virtual ~Capture() = default;
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    // Opens the listeners of a pod in its netns (no IPv6 in the kernel: none for it). Nothing is steered to them yet.
    // Where rules of Istio's CNI are in the pod, they stay: they bring what comes to it, and we take what leaves it.
    virtual base::Result<std::vector<Listener>> listen(const PodSpec& pod) = 0;
    // Steers the pod's traffic to the listeners, which are borrowed. Installs first, then ends connections of the netns
    // that are in SYN_SENT. A pod that an earlier daemon enrolled is taken over.
    virtual base::Result<> enrol(const PodSpec& pod, const std::vector<Listener>& listeners) = 0;
    // Steers an enrolled pod to these listeners from now on; those that it had are somebody's no more.
    virtual base::Result<> refill(const std::string& uid, const std::vector<Listener>& listeners) = 0;
    // Of an enrolled pod, from now on. Connections that are open keep their way. After a failure some of what is no
    // longer excluded may still be: try again.
    virtual base::Result<> exclude(const std::string& uid, const state::Exclusions& exclusions) = 0;
    // Of an enrolled pod, from now on. What is not refused by it, or after a failure, the proxy decides. So it does all
    // where capture has no programs of its own.
    virtual base::Result<> judge(const std::string& uid, const policy::Plaintext& plaintext) = 0;
    // Whether rules of Istio's CNI bring what comes to this enrolled pod, so that its inbound exclusions are in vain.
    virtual bool by_rules(const std::string& uid) const = 0;
    // First step of leaving: new connections are no longer captured; those that live go on.
    virtual base::Result<> stop_capturing(const std::string& uid) = 0;
    // Takes the first step back, for a pod that is wanted again before it was released: its new connections are refused
    // until it is enrolled anew.
    virtual base::Result<> close(const std::string& uid) = 0;
    // Second step, after the drain: everything that enrol() put in place goes.
    virtual base::Result<> release(const std::string& uid) = 0;
    // Instead of both, for a pod that will be enrolled again: forgets it but leaves everything in place, closed once
    // its listeners are. The next enrol() of its netns takes over.
    virtual void let_go(const std::string& uid) = 0;
    // Removes what earlier daemons of this instance left for pods that are not in the list, dead netns included.
    virtual base::Result<> release_all_but(const std::vector<std::string>& uids) = 0;

    // From now on apps' connects fail at once, as they do while no daemon is alive. There is no way back but a restart.
    virtual void refuse_new() noexcept = 0;

    // Marks a fresh, unconnected socket of ours, so that it is not captured. Any thread; one syscall.
    virtual base::Result<> claim(int fd, OwnSocket kind) noexcept = 0;
    // Flows end before Capture does: they live in its mapped memory. Without a table, every flow is empty.
    virtual FlowTable& flows() noexcept = 0;

    // Borrows it, until it is removed.
    virtual void add_reader(RefusedReader& reader) = 0;
    virtual void remove_reader(RefusedReader& reader) = 0;
    // Tells at once what was refused until now.
    virtual void tell_refused() = 0;

    virtual std::vector<ReasonCount> reasons() const = 0;
    virtual std::vector<MapFill> fills() const = 0;

    virtual std::vector<RepairCount> repairs() const = 0;
    virtual void on_notice(Notices notices) = 0;
    // The pods have all been enrolled that will be at first: an older daemon of the instance may go.
    virtual void settled() = 0;

    // Whether cleanup would find anything.
    static bool has_traces(const std::string& instance);
    // Removes every trace of an instance, with no daemon running. Idempotent.
    static base::Result<> cleanup(const std::string& instance);
    // Whether a daemon of the instance lives, be it one that is replaced and has connections yet; of ebpf only.
    static bool is_held(const std::string& instance);

protected:
    Capture() = default;
};

}
