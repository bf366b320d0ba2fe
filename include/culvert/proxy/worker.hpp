// SPDX-License-Identifier: Apache-2.0
// One data-plane worker: a thread, its loop, and every connection it accepted, from accept to the last byte.
//
// Constructed, called and destroyed on the control thread; what it is told, it is told by mail. Borrows the shared
// parts, which must outlive it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/socket.hpp>
#include <culvert/capture/capture.hpp>
#include <culvert/hbone/settings.hpp>
#include <culvert/policy/set.hpp>
#include <culvert/proxy/live.hpp>
#include <culvert/state/snapshot.hpp>
#include <culvert/telemetry/access_log.hpp>
#include <culvert/telemetry/counters.hpp>
#include <culvert/telemetry/trace.hpp>
#include <culvert/telemetry/traffic.hpp>
#include <culvert/tls/credentials.hpp>

namespace culvert::proxy {

struct Limits {
    hbone::Settings hbone;
    base::KeepAlive keepalive;
    std::chrono::milliseconds connect{10'000};      // TCP to an app or to a plain destination
    std::uint32_t connections_per_worker = 65'536;  // then new ones are refused with RST, and counted
    std::uint32_t handshakes_per_worker = 4096;     // then the oldest goes
    std::uint32_t handshakes_per_source = 1024;
    std::chrono::milliseconds own_workload{5'000};  // that the mesh does not know yet; ztunnel's
    std::uint32_t waiting_for_workload_per_worker = 1024;
    std::uint32_t waiting_for_certificate_per_worker = 1024;  // each for `connect` at most
    // Of addresses that a control plane tells of on demand: how long a connection waits for an answer, and where there
    // was one before; for how long that is not asked for again; how many are remembered.
    std::chrono::milliseconds on_demand{5'000};
    std::chrono::milliseconds on_demand_again{500};
    std::chrono::milliseconds on_demand_kept{5'000};
    std::uint32_t addresses_on_demand_per_worker = 4096;
    std::uint32_t waiting_on_demand_per_worker = 1024;
};

// Asks a control plane who is at "<network>/<ip>". Called on workers. `answered` is called at most once, by any thread:
// whether it has answered; then the mesh with what it said is published already.
using AskMesh = std::function<void(const std::string& name, std::function<void(bool)> answered)>;

struct Shared {
    capture::Capture& capture;
    telemetry::AccessLog& access_log;
    // A connection waits for this identity's certificate. Called on workers.
    std::function<void(const state::Identity&)> need_certificate = {};
    // Of the uid of a pod whose workload is not in the mesh.
    std::string unknown_pod = " is not in the configuration";
    AskMesh ask_mesh = {};  // nothing: the mesh is told of whole
};

// A pod of this node, as the data path needs it.
struct LocalPod {
    std::string uid;
    std::string enrolment;  // unlike any other's: a uid may come back with another netns
    std::string name;       // for people
    std::string network;    // of this node
    state::Identity identity;
    std::shared_ptr<const base::Fd> netns;  // workers dial in it; ends with the last of them
    // Takes the app's TCP connections to nameservers, on the worker. Nothing: they are carried like any other.
    std::function<void(base::Fd)> serve_dns = {};
    // Not 0: tunnels lead to this port and no other, in a netns that is not captured: it is dialled as anybody there
    // would, with the netns' own address.
    std::uint16_t only_port = 0;
};

class Worker {
public:
    Worker(unsigned index, Shared shared, const Limits& limits);  // starts the thread; throws std::system_error
    ~Worker();                                                    // ends every connection now, then the thread

    // Each connection decides against what was published last; those that live are asked again.
    void publish(state::SnapshotPtr mesh, policy::SetPtr policies);
    void publish(tls::CredentialsMapPtr credentials);

    // Accepts from the pod's listeners, which it owns from now on.
    void add_pod(std::shared_ptr<const LocalPod> pod, std::vector<capture::Listener> listeners);
    // Listeners in the place of those that died.
    void add_listeners(const std::string& uid, std::vector<capture::Listener> listeners);
    // Stops accepting, lets connections finish until the deadline, ends the rest. Then `gone` is called, on the worker.
    void remove_pod(const std::string& uid, std::chrono::milliseconds deadline, std::function<void()> gone);
    // The same for all pods: GOAWAY to peers, close_notify, and what still lives at the deadline is ended.
    void drain(std::chrono::milliseconds deadline, std::function<void()> drained);

    // What lives, between two rounds of the loop: a page of connections, and what each pod has here, those that leave
    // included. The reply is given on the worker.
    void list(ConnectionQuery query, std::function<void(ConnectionPage)> reply);
    void list_pods(std::function<void(std::map<std::string, PodUse>)> reply);

    // What is new among the metrics of connections. The reply is given on the worker.
    void take_traffic(std::function<void(telemetry::TrafficReport)> reply);

    // What happens to the pods that it names is told from now on; null: nothing is. `done` is called on the worker.
    void trace(telemetry::TracePtr trace, std::function<void()> done);

    const telemetry::WorkerCounters& counters() const noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}
