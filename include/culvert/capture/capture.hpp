// SPDX-License-Identifier: Apache-2.0
// Getting pods' traffic to us and to nobody else: loads the BPF programs, attaches them to the cgroup root and to each
// pod's netns, keeps rules, routes and sysctls there, and speaks to the maps.
//
// Lives on: the control thread, except claim() and FlowTable, which any worker may call.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/capture/flows.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::capture {

// What a listener takes. The kernel picks by destination and origin, never by port alone.
enum class Arrival { outbound, inbound_plain, inbound_hbone };

struct Listener {
    Arrival arrival;
    int family;       // AF_INET or AF_INET6
    unsigned worker;  // whose it is: 0 .. workers-1
    base::Fd fd;      // listening, non-blocking, made in the pod's netns
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
};

struct Settings {
    std::string instance;  // pins live in <bpffs>/culvert/<instance>/
    unsigned workers = 1;
    std::uint32_t max_pods = 1024;
    std::uint32_t max_flows = 16384;
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

class Capture {
public:
    // Probes the kernel, mounts bpffs and cgroup2 where they are missing, takes over what an earlier daemon of this
    // instance pinned (or replaces it when its schema differs, the pods staying closed), attaches the alive link.
    // Fails with a sentence that says what the kernel lacks.
    static base::Result<std::unique_ptr<Capture>> start(boost::asio::io_context& io, Settings settings);
    // Lets the alive link go: pinned programs stay and refuse new connections until the next start.
    ~Capture();

    // Opens one listener per arrival, family and worker in the pod's netns (no IPv6 there: none for it). Not yet
    // steered to.
    base::Result<std::vector<Listener>> listen(const PodSpec& pod);
    // Steers the pod's traffic to the listeners, which are borrowed. Installs first, then ends connections of the netns
    // that are in SYN_SENT. Of a pod that an earlier daemon enrolled, it takes over the pins and swaps the slots.
    base::Result<> enrol(const PodSpec& pod, const std::vector<Listener>& listeners);
    // First step of leaving: new connections are no longer captured; those that live go on.
    base::Result<> stop_capturing(const std::string& uid);
    // Second step, after the drain: rule, routes, links and pins go.
    base::Result<> release(const std::string& uid);
    // Instead of both, for a pod that will be enrolled again: forgets it but leaves everything in place, closed once
    // its listeners are. The next enrol() of its netns takes over.
    void let_go(const std::string& uid);
    // Removes what earlier daemons of this instance left for pods that are not in the list, dead netns included.
    base::Result<> release_all_but(const std::vector<std::string>& uids);

    // From now on apps' connects fail at once, as they do while no daemon is alive. There is no way back but a restart.
    void refuse_new() noexcept;

    // Marks a fresh, unconnected socket of ours, so that no program captures it. Any thread; one syscall.
    base::Result<> claim(int fd, OwnSocket kind) noexcept;
    // Flows end before Capture does: they live in its mapped memory.
    FlowTable& flows() noexcept;

    std::vector<ReasonCount> reasons() const;
    std::vector<MapFill> fills() const;

    // Removes every trace of an instance, with no daemon running. Idempotent.
    static base::Result<> cleanup(const std::string& instance);

private:
    class Impl;
    explicit Capture(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}
