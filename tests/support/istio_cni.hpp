// SPDX-License-Identifier: Apache-2.0
// Istio's CNI agent, as far as a node proxy sees it: tests/support/istio_cni.py, which says there what it obeys and
// what it prints.
#pragma once
#include <string>
#include <vector>

#include "lab.hpp"
#include "process.hpp"

namespace culvert::test {

class IstioCni {
public:
    // `name` tells several of one lab apart. Idle connections are looked at every second.
    explicit IstioCni(const Lab& lab, const std::string& name);
    ~IstioCni();
    IstioCni(const IstioCni&) = delete;

    // INPOD_UDS of the node's proxy.
    const std::string& socket() const noexcept { return socket_; }

    void order(const std::string& line);
    // "add" of a pod of the lab; `rules`: iptables, legacy, or none; with " no-dns" as where a pod's DNS is not
    // captured.
    void add(const Pod& pod, const std::string& service_account, const std::string& rules = "",
             const std::string& namespace_ = "ns");
    void del(const Pod& pod) { order("del " + uid(pod)); }
    static std::string uid(const Pod& pod) { return "uid-of-" + pod.name(); }

    // A line that begins so, written after the last call that found one.
    bool says(const std::string& beginning, Milliseconds limit = 15s);
    // What a proxy has done wrong; empty when nothing.
    std::string complaints() const;

private:
    std::string socket_, orders_, output_;
    base::Fd pen_;
    Process process_;
    std::size_t read_to_ = 0;
};

}
