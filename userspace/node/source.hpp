// SPDX-License-Identifier: Apache-2.0
// Where a node's pods and its mesh come from: a file, or a control plane. Lives on: the control thread.
#pragma once
#include <boost/asio/io_context.hpp>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <culvert/admin/readiness.hpp>
#include <culvert/base/result.hpp>
#include <culvert/control/environment.hpp>
#include <culvert/telemetry/metrics.hpp>
#include <culvert/tls/issuer.hpp>

#include "mesh.hpp"
#include "metrics.hpp"
#include "pods.hpp"

namespace culvert::node {

// The parts of a node that a source works on; all are there when begin() is called.
struct Site {
    boost::asio::io_context& io;
    Reloads& reloads;
    Mesh& mesh;
    Pods& pods;
    // The pods that this node has are these, by uid: what is left of others goes, and a daemon that we replace may end.
    // Without them nothing goes.
    std::function<void(const std::optional<std::vector<std::string>>& uids)> settled;
    // What readiness waited for under this name is there; with the last of them the node is ready.
    std::function<void(const std::string& part)> ready;
    // It is gone again.
    std::function<void(const std::string& part)> not_ready;
    // The CA may have others by now: certificates bring them, so all are asked for again.
    std::function<void()> new_roots;
};

class Source {
public:
    virtual ~Source() = default;

    // Before anything else is opened. Names what readiness waits for.
    virtual base::Result<> open(boost::asio::io_context& io, admin::Readiness& readiness) = 0;
    // Who signs for the node's identities, once it is open.
    virtual tls::Issuer& issuer() = 0;
    // Calls `go`, once, when it knows the mesh: a file does at once. Until then nothing is captured, and a daemon that
    // is to be replaced keeps its pods.
    virtual void when_known(std::function<void()> go) = 0;
    // Once it is known: those of the pods that the mesh has on this node, where certificates take time.
    virtual std::set<state::Identity> identities() const { return {}; }
    virtual void expose(telemetry::Metrics&) {}
    // Whether it tells of addresses on demand only; then ask() for one, "<network>/<ip>". `answered` is called at most
    // once: whether there was an answer. What it says has been published by then.
    virtual bool on_demand() const { return false; }
    virtual void ask(const std::string& /*name*/, std::function<void(bool)> /*answered*/) {}
    // The mesh is published, and pods join from now on.
    virtual void begin(const Site& site) = 0;
    // SIGHUP.
    virtual void look_again() = 0;
    // The pods are somebody else's, or the node ends: nothing is changed any more.
    virtual void stop() = 0;
    // For config_dump: where there is a control plane, what is set about it, and endpoints of services that it has not
    // told of.
    virtual const control::ClusterSettings* cluster() const { return nullptr; }
    using Staged = std::map<state::NamespacedHostname, std::map<std::string, state::Endpoint>>;
    virtual const Staged* staged() const { return nullptr; }
    // For people: a file's name, a server's address.
    virtual std::string name() const = 0;
};

}
