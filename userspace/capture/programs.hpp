// SPDX-License-Identifier: Apache-2.0
// The programs and maps, loaded: libbpf loads the object once for the node, and every pod gets copies of what must know
// its pod (prepared.hpp). Only programs.cpp sees the skeleton.
//
// Lives on: the control thread.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/capture/capture.hpp>

namespace culvert::capture {

class Programs {
public:
    struct Node {
        std::uint64_t netns;   // cookie of the daemon's own
        std::uint64_t daemon;  // a number no other daemon has
        std::uint32_t max_pods;
        std::uint32_t max_flows;
        bool guard_per_pod = false;  // as on kernels before 6.2; tests want to see that
    };
    struct Pod {
        std::uint64_t netns;
        std::uint32_t workers;
    };
    // A pinned map's descriptor (owned by the callee's caller) or none.
    using FindPinned = std::function<base::Fd(const char* map)>;

    // What runs once on a node, and all shared maps: pinned ones of an earlier daemon, else new ones.
    static base::Result<Programs> load(const Node&, const FindPinned&);
    // lookup, with constants and a cv_listeners of its own, over the maps of the node, which must outlive it. The
    // guards are the node's; where the kernel does not tell them whose packets they see, the pod's own as well.
    static base::Result<Programs> load(const Pod&, const Programs& node);

    // The object that is compiled into us; read by the first of these alone.
    static std::string_view object() noexcept;

    Programs(Programs&&) noexcept;
    Programs& operator=(Programs&&) noexcept;
    ~Programs();

    // Borrowed. Of a pod's own, the rarer ones are loaded when they are first asked for; -1, with the reason in the
    // log, where the kernel refuses. Of the node's, -1 for what every pod has its own of, or this kernel cannot have.
    int program(const char* name) const;
    // Borrowed. A pod's own are cv_listeners alone.
    int map(const char* name) const;
    MapFill fill_of(const char* map) const;  // counts the keys
    // Of the node's: every map that is shared by all pods, in the order to pin them.
    void each_shared_map(const std::function<void(const char* name, int fd)>&) const;

private:
    struct Source;
    struct OfNode;
    struct OfPod;
    explicit Programs(std::unique_ptr<Source>) noexcept;
    std::unique_ptr<Source> source_;
};

}
